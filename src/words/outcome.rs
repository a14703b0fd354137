//! The closed set of outcomes of a call for a job, the holds that a response may ask for, and incidents of providers.

use super::{Record, UnixMs};
use serde::{Deserialize, Serialize};

/// A provider's text has no bound; bounds what is logged and stored of it.
const DETAIL_CHARS_MAX: usize = 500;

/// `fetch` decides the outcome by the provider's rules; `journey` acts on it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A new reading.
    Fresh(Record),
    /// The provider reports no change since the last reading.
    Unchanged,
    /// The provider throttled the call. The job keeps its rank and the attempt does not count.
    Throttled,
    /// The provider refused the credential.
    Unauthorized {
        /// The provider's reason.
        reason: String,
    },
    /// The provider cannot reach the device.
    DeviceOffline,
    /// Answered, about this device, and there is nothing to read. The last value stays.
    NoData {
        /// What the response has instead.
        reason: String,
    },
    /// The provider does not know the device (any longer).
    Gone {
        /// The provider's reason.
        reason: String,
    },
    /// A failure that a retry may solve.
    Transient {
        /// What happened.
        reason: String,
    },
    /// The response cannot be understood.
    Broken {
        /// What is wrong with it.
        reason: String,
        /// The beginning of the response, to help fix the definition.
        excerpt: String,
    },
    /// The call was not sent.
    NotSent {
        /// Why not.
        reason: String,
    },
}

impl Outcome {
    /// The name in events, metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Fresh(_) => "fresh",
            Self::Unchanged => "unchanged",
            Self::Throttled => "throttled",
            Self::Unauthorized { .. } => "unauthorized",
            Self::DeviceOffline => "device_offline",
            Self::NoData { .. } => "no_data",
            Self::Gone { .. } => "gone",
            Self::Transient { .. } => "transient",
            Self::Broken { .. } => "broken",
            Self::NotSent { .. } => "not_sent",
        }
    }

    /// The name, followed by the detail if there is one.
    pub fn describe(&self) -> String {
        match self.detail() {
            detail if detail.is_empty() => self.as_str().to_owned(),
            detail => [self.as_str(), &detail].join(": "),
        }
    }

    /// The reason for people, one line of at most `DETAIL_CHARS_MAX` characters; empty if there is none.
    pub fn detail(&self) -> String {
        let whole = match self {
            Self::Fresh(_) | Self::Unchanged | Self::DeviceOffline | Self::Throttled => String::new(),
            Self::Broken { reason, excerpt } => format!("{reason}; the response began: {excerpt}"),
            Self::Unauthorized { reason }
            | Self::NoData { reason }
            | Self::Gone { reason }
            | Self::Transient { reason }
            | Self::NotSent { reason } => reason.clone(),
        };
        let mut rest = whole.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut detail: String = rest.by_ref().take(DETAIL_CHARS_MAX).collect();
        if rest.next().is_some() {
            detail.pop();
            detail.push('…');
        }
        detail
    }
}

/// How a call ended, as quotas count it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    /// Never sent: its quota spending may be refunded.
    #[default]
    Unsent,
    /// Answered without an error.
    Good,
    /// Answered with an error.
    Error,
    /// The provider throttled it.
    Throttled,
    /// No response: the provider may or may not have counted it.
    Lost,
}

impl End {
    /// The name in scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Good => "good",
            Self::Error => "error",
            Self::Throttled => "throttled",
            Self::Lost => "lost",
        }
    }
}

/// What a quota counts and what a hold stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything this deployment sends to the provider.
    App,
    /// One connection.
    Connection,
    /// One group (home, site) of a connection.
    Group,
    /// One device.
    Device,
}

impl Scope {
    /// The name in definitions and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Connection => "connection",
            Self::Group => "group",
            Self::Device => "device",
        }
    }
}

/// No calls in this scope before `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The scope, relative to the call whose response asked for the hold.
    pub scope: Scope,
    /// When it ends, on the schedule's clock (Redis).
    pub until: UnixMs,
    /// The reason, for explanations.
    pub reason: String,
    /// Whether the provider refused a call, and what it said then; none for a hold that only keeps a call from failing.
    pub refusal: Option<Refusal>,
}

/// A call was refused because there were too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Until when the provider asked to wait, however far away; none if it did not say.
    pub reported_until: Option<UnixMs>,
}

/// An incident that lasts. While it does, a few calls probe the provider, and no connection or job changes its state.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Incident {
    /// What the calls came to, a word of the outcomes.
    #[schema(example = "unauthorized")]
    pub outcome: String,
    /// When it was noticed.
    #[schema(value_type = String)]
    pub since: UnixMs,
    /// Connections whose last call failed.
    pub failing: u64,
    /// Connections that were called within the last 10 to 20 minutes.
    pub called: u64,
    /// When the next calls probe the provider; none once calls go well again and are no longer held back.
    #[schema(value_type = Option<String>)]
    pub next_probe: Option<UnixMs>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_is_one_line_of_bounded_length() {
        let detail = |reason: &str| Outcome::Transient { reason: reason.to_owned() }.detail();
        assert_eq!(detail("a\r\nb\u{1b}[31m\u{0}"), "a  b [31m ");
        assert_eq!(detail(&"ä".repeat(500)), "ä".repeat(500));
        assert_eq!(detail(&"ä".repeat(501)), "ä".repeat(499) + "…");
        let broken = Outcome::Broken { reason: "r".repeat(400), excerpt: "e".repeat(200) };
        assert_eq!(broken.detail().chars().count(), 500);
    }
}
