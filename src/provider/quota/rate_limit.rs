//! Where a cloud's answers tell what is left of a quota.

use super::limit::{Kind as QuotaKind, Quota};
use crate::provider::call::WaitUnit;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// "What is left of this quota is told there." Never required of an answer; names of headers are compared without
/// case, hyphens and underscores.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// The quota that it speaks of, by name. When too little is left for another call, a hold as far as the quota's
    /// scope lasts until the reset.
    pub quota: String,
    /// The header that tells how much is left: a number, or a list of them, of which the one counts whose parameter `w`
    /// or `window` is the quota's window in seconds, else the first.
    #[serde(default)]
    pub remaining: Option<String>,
    /// The header that tells when there is more again, in `unit`. Untold, it is when the calendar turns, or when a
    /// sliding quota has given out one unit more.
    #[serde(default)]
    pub reset: Option<String>,
    /// What `reset` counts in.
    #[serde(default)]
    pub unit: WaitUnit,
    /// The header that tells the limit which `remaining` is about, where several windows share one set of headers: the
    /// set counts only if its first number is the quota's amount.
    #[serde(default)]
    pub limit: Option<String>,
    /// In place of headers of its own: the policy of this name in the header `RateLimit` of the IETF's draft
    /// (draft-ietf-httpapi-ratelimit-headers): `RateLimit: "perday";r=15211;t=43200`.
    #[serde(default)]
    pub policy: Option<String>,
}

impl RateLimit {
    /// What it contradicts itself in.
    pub(crate) fn check(&self, quotas: &[Spanned<Quota>]) -> Vec<String> {
        let mut wrong = Vec::new();
        match quotas.iter().map(|quota| quota.get_ref()).find(|quota| quota.name == self.quota) {
            None => wrong.push(format!("rate_limit: no quota is called {:?}", self.quota)),
            Some(Quota { kind: QuotaKind::Concurrent | QuotaKind::Errors, .. }) => wrong.push(format!(
                "rate_limit: quota {:?} counts no amount in a window: nothing can be left of it",
                self.quota
            )),
            Some(_) => {}
        }
        match (&self.remaining, &self.policy) {
            (Some(_), None) => {}
            (None, None) => {
                wrong.push("rate_limit: say remaining = \"X-RateLimit-Remaining\", or policy".to_owned());
            }
            (Some(_), Some(_)) => {
                wrong.push(
                    "rate_limit: remaining and policy are two ways to say it: leave one out".to_owned(),
                );
            }
            (None, Some(_)) if self.reset.is_some() || self.limit.is_some() => wrong.push(
                "rate_limit: a policy tells its reset and limit itself: leave reset and limit out".to_owned(),
            ),
            (None, Some(_)) => {}
        }
        wrong
    }
}
