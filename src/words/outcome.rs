//! The closed set of ways a call can end for a job, and what it may say about the calls to come.

use super::{Record, UnixMs};
use serde::{Deserialize, Serialize};

/// What a cloud says has no bound; what is logged and stored of it has.
const DETAIL_CHARS_MAX: usize = 500;

/// Decided by the fetch side, by the provider's rules; obeyed by the journey.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A reading came.
    Fresh(Record),
    /// The provider says that nothing has changed since the last one.
    Unchanged,
    /// The provider throttles. The job keeps its rank and no attempt is counted.
    Throttled,
    /// The credential is not accepted.
    Unauthorized {
        /// What the provider said.
        reason: String,
    },
    /// The provider cannot reach the device.
    DeviceOffline,
    /// The provider does not know the device (any more).
    Gone {
        /// What the provider said.
        reason: String,
    },
    /// It may well work in a moment.
    Transient {
        /// What happened.
        reason: String,
    },
    /// The answer cannot be understood.
    Broken {
        /// What is wrong with it.
        reason: String,
        /// The beginning of what came, for whoever mends the definition.
        excerpt: String,
    },
    /// The call was not made.
    NotSent {
        /// Why not.
        reason: String,
    },
}

impl Outcome {
    /// Its word in events, metrics and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Fresh(_) => "fresh",
            Self::Unchanged => "unchanged",
            Self::Throttled => "throttled",
            Self::Unauthorized { .. } => "unauthorized",
            Self::DeviceOffline => "device_offline",
            Self::Gone { .. } => "gone",
            Self::Transient { .. } => "transient",
            Self::Broken { .. } => "broken",
            Self::NotSent { .. } => "not_sent",
        }
    }

    /// Its word, and what a person should know of it where there is more to say.
    pub fn told(&self) -> String {
        match self.detail() {
            detail if detail.is_empty() => self.word().to_owned(),
            detail => [self.word(), &detail].join(": "),
        }
    }

    /// What a person should know of it, on one line of at most `DETAIL_CHARS_MAX`; empty where all is well.
    pub fn detail(&self) -> String {
        let whole = match self {
            Self::Fresh(_) | Self::Unchanged | Self::DeviceOffline | Self::Throttled => String::new(),
            Self::Broken { reason, excerpt } => format!("{reason}; it began: {excerpt}"),
            Self::Unauthorized { reason }
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

/// How a call ended, as far as quotas are concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    /// It was never made: what it spent may go back.
    #[default]
    Unsent,
    /// Answered, and no error.
    Good,
    /// Answered with an error.
    Error,
    /// The provider throttled it.
    Throttled,
    /// No answer came: nobody knows whether it was counted.
    Lost,
}

impl End {
    /// The word in scripts.
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

/// Whom a quota counts, and whom a hold stops.
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
    /// The word in definitions and explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Connection => "connection",
            Self::Group => "group",
            Self::Device => "device",
        }
    }
}

/// "Do not call this scope before `until`."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// How far it reaches, seen from the call that learned of it.
    pub scope: Scope,
    /// When it ends, on the schedule's clock.
    pub until: UnixMs,
    /// Why, for whoever asks.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_one_bounded_line() {
        let detail = |reason: &str| Outcome::Transient { reason: reason.to_owned() }.detail();
        assert_eq!(detail("a\r\nb\u{1b}[31m\u{0}"), "a  b [31m ");
        assert_eq!(detail(&"ä".repeat(500)), "ä".repeat(500));
        assert_eq!(detail(&"ä".repeat(501)), "ä".repeat(499) + "…");
        let broken = Outcome::Broken { reason: "r".repeat(400), excerpt: "e".repeat(200) };
        assert_eq!(broken.detail().chars().count(), 500);
    }
}
