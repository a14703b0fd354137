//! How a provider's responses are judged: its rules, and where a response says how long to wait.

use crate::provider::http_text::check_header;
use crate::words::{Interval, Scope};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// What responses of a certain kind mean. All conditions must match.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Any of these statuses; any status when absent.
    #[serde(default)]
    pub status: Option<Vec<u16>>,
    /// Header → its value, both compared without case.
    #[serde(default)]
    pub header: BTreeMap<String, String>,
    /// jq over the response's JSON: matches if its first output is true.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub body: Option<Spanned<String>>,
    /// What such a response means.
    pub outcome: RuleOutcome,
    /// Bootstrap value → jq over the response: the first string or number that it yields is the value from now on, such
    /// as the host of the right region.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub learn: BTreeMap<String, Spanned<String>>,
    /// Throttled: the scope of the hold.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// Throttled: where the response says how long to wait, beside `Retry-After`.
    #[serde(default)]
    pub wait: Option<Wait>,
}

impl Rule {
    /// Its contradictions: it matches everything, or has keys that its outcome does not use.
    pub(crate) fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.status.is_none() && self.body.is_none() && self.header.is_empty() {
            wrong.push("a rule needs a status, a header or a body to match on".to_owned());
        }
        if let Some(status) = &self.status {
            let is_status = |status: &u16| (100..600).contains(status);
            if let Some(never) = status.iter().find(|status| !is_status(status)) {
                wrong.push(format!("{never} is no HTTP status, from 100 to 599: correct it"));
            } else if status.is_empty() {
                wrong.push("status = [] matches no response: name a status, or leave it out".to_owned());
            }
        }
        if self.outcome != RuleOutcome::Throttled && (self.wait.is_some() || self.scope.is_some()) {
            wrong.push("scope and wait apply to outcome = \"throttled\" only: leave them out".to_owned());
        }
        if !self.learn.is_empty() && matches!(self.outcome, RuleOutcome::Fresh | RuleOutcome::Unchanged) {
            wrong.push(
                "learn corrects what made a call fail: a good response has nothing to correct".to_owned(),
            );
        }
        wrong.extend(self.header.iter().filter_map(|(name, value)| check_header(name, value)));
        let Some(wait) = &self.wait else { return wrong };
        wrong.extend(wait.header.as_deref().and_then(|name| check_header(name, "")));
        if wait.unit != WaitUnit::default() && wait.header.is_none() && wait.body.is_none() {
            wrong.push("wait.unit is the unit of wait.header or wait.body: set one of them".to_owned());
        }
        if let Some((floor, cap)) = wait.floor.zip(wait.cap).filter(|(floor, cap)| floor > cap) {
            wrong.push(format!("wait.floor {floor} is above wait.cap {cap}"));
        }
        wrong
    }
}

/// What a response may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleOutcome {
    /// A good response: map it.
    Fresh,
    /// Nothing has changed.
    Unchanged,
    /// Too many requests: wait.
    Throttled,
    /// The credential is refused.
    Unauthorized,
    /// The device cannot be reached.
    DeviceOffline,
    /// About the device, and there is nothing to read.
    NoData,
    /// The provider does not know the device.
    Gone,
    /// A passing failure: try again.
    Transient,
    /// The response cannot be understood.
    Broken,
}

/// Where a response says how long to wait, and what to assume if it does not.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// The header with the wait, in `unit`.
    #[serde(default)]
    pub header: Option<String>,
    /// jq over the response's JSON: the first number or string that it yields is the wait, in `unit`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub body: Option<Spanned<String>>,
    /// The unit of `header` or `body`. `Retry-After` has its own.
    #[serde(default)]
    pub unit: WaitUnit,
    /// The wait if the response reports none.
    #[serde(default)]
    pub default: Option<Interval>,
    /// The shortest wait, whatever the response reports.
    #[serde(default)]
    pub floor: Option<Interval>,
    /// The longest wait, whatever the response reports.
    #[serde(default)]
    pub cap: Option<Interval>,
}

/// The unit of a reported wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitUnit {
    /// Seconds from now, or an HTTP-date, as in `Retry-After`.
    #[default]
    Seconds,
    /// Milliseconds from now.
    Ms,
    /// An instant, in seconds since 1970.
    EpochS,
    /// An instant, in milliseconds since 1970.
    EpochMs,
    /// An instant, as an HTTP-date.
    HttpDate,
}
