//! How a provider's answers are judged: its rules, and where a wait is told.

use crate::provider::http_text::check_header;
use crate::words::{Interval, Scope};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// "An answer like this means that." All that it names must fit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Any of these statuses; any at all when absent.
    #[serde(default)]
    pub status: Option<Vec<u16>>,
    /// Header → its value, whatever the case of either.
    #[serde(default)]
    pub header: BTreeMap<String, String>,
    /// jq over the answer's JSON: matches when its first output is true.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub body: Option<Spanned<String>>,
    /// What it means.
    pub outcome: RuleOutcome,
    /// Bootstrap value → jq over the answer: what the first text or number that it yields is from now on, such as the
    /// host of the right region.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub learn: BTreeMap<String, Spanned<String>>,
    /// Throttled: how far the hold reaches.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// Throttled: where the wait is told, beside `Retry-After`.
    #[serde(default)]
    pub wait: Option<Wait>,
}

impl Rule {
    /// That it would match everything, or says what its outcome has no use for.
    pub(crate) fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.status.is_none() && self.body.is_none() && self.header.is_empty() {
            wrong.push("a rule needs a status, a header or a body to match on".to_owned());
        }
        if self.outcome != RuleOutcome::Throttled && (self.wait.is_some() || self.scope.is_some()) {
            wrong.push(
                "scope and wait mean something with outcome = \"throttled\" only: leave them out".to_owned(),
            );
        }
        if !self.learn.is_empty() && matches!(self.outcome, RuleOutcome::Fresh | RuleOutcome::Unchanged) {
            wrong.push(
                "learn corrects what made a call fail: a good answer has nothing to correct".to_owned(),
            );
        }
        wrong.extend(self.header.iter().filter_map(|(name, value)| check_header(name, value)));
        let Some(wait) = &self.wait else { return wrong };
        wrong.extend(wait.header.as_deref().and_then(|name| check_header(name, "")));
        if wait.unit != WaitUnit::default() && wait.header.is_none() && wait.body.is_none() {
            wrong
                .push("wait.unit tells what wait.header or wait.body counts in: name one of them".to_owned());
        }
        if let Some((floor, cap)) = wait.floor.zip(wait.cap).filter(|(floor, cap)| floor > cap) {
            wrong.push(format!("wait.floor {floor} is above wait.cap {cap}"));
        }
        wrong
    }
}

/// What an answer may mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleOutcome {
    /// Good: map it.
    Fresh,
    /// Nothing new.
    Unchanged,
    /// Not now.
    Throttled,
    /// The credential is not accepted.
    Unauthorized,
    /// The device cannot be reached.
    DeviceOffline,
    /// The device is not known.
    Gone,
    /// Try again.
    Transient,
    /// It cannot be understood.
    Broken,
}

/// Where a wait is told, and what to assume when it is not.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// A header that tells it, in `unit`.
    #[serde(default)]
    pub header: Option<String>,
    /// jq over the answer's JSON: the first number or text that it yields tells it, in `unit`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub body: Option<Spanned<String>>,
    /// What `header` or `body` count in. `Retry-After` has a unit of its own.
    #[serde(default)]
    pub unit: WaitUnit,
    /// The wait when nothing tells it.
    #[serde(default)]
    pub default: Option<Interval>,
    /// The shortest, whatever is told.
    #[serde(default)]
    pub floor: Option<Interval>,
    /// The longest, whatever is told.
    #[serde(default)]
    pub cap: Option<Interval>,
}

/// What a told wait counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitUnit {
    /// Seconds from now, or an HTTP-date, as in `Retry-After`.
    #[default]
    Seconds,
    /// Milliseconds from now.
    Ms,
    /// The instant, in seconds since 1970.
    EpochS,
    /// The instant, in milliseconds since 1970.
    EpochMs,
    /// The instant, as an HTTP-date.
    HttpDate,
}
