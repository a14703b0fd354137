//! Where a provider's responses report what is left of a quota.

use super::limit::{Kind as QuotaKind, Quota};
use crate::provider::call::WaitUnit;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// Where responses report what is left of a quota. Never required of a response; header names are compared without
/// case, hyphens and underscores.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// The quota's name. When too little is left for another call, a hold in the quota's scope lasts until the reset.
    pub quota: String,
    /// The header with the remaining amount: a number, or a list. Of a list, the item whose parameter `w` or `window`
    /// is the quota's window in seconds counts, else the first.
    #[serde(default)]
    pub remaining: Option<String>,
    /// The header with the reset time, in `unit`. When absent: the next calendar boundary, or when a sliding quota has
    /// replenished one unit.
    #[serde(default)]
    pub reset: Option<String>,
    /// The unit of `reset`.
    #[serde(default)]
    pub unit: WaitUnit,
    /// The header with the limit that `remaining` refers to, where several windows share one set of headers: the set
    /// counts only if its first number is the quota's amount.
    #[serde(default)]
    pub limit: Option<String>,
    /// Instead of separate headers: the policy of this name in the header `RateLimit` of the IETF draft
    /// (draft-ietf-httpapi-ratelimit-headers): `RateLimit: "perday";r=15211;t=43200`.
    #[serde(default)]
    pub policy: Option<String>,
}

impl RateLimit {
    /// Its contradictions.
    pub(crate) fn check(&self, quotas: &[Spanned<Quota>]) -> Vec<String> {
        let mut wrong = Vec::new();
        match quotas.iter().map(|quota| quota.get_ref()).find(|quota| quota.name == self.quota) {
            None => wrong.push(format!("rate_limit: no quota is called {:?}", self.quota)),
            Some(Quota { kind: QuotaKind::Concurrent | QuotaKind::Errors, .. }) => wrong.push(format!(
                "rate_limit: quota {:?} counts no amount per window, so nothing can be left of it",
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
                wrong.push("rate_limit: remaining and policy exclude each other: leave one out".to_owned());
            }
            (None, Some(_)) if self.reset.is_some() || self.limit.is_some() => wrong.push(
                "rate_limit: a policy includes its reset and limit: leave reset and limit out".to_owned(),
            ),
            (None, Some(_)) => {}
        }
        wrong
    }
}
