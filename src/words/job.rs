//! A job: the recurring sync of one resource of one device.

use super::{ConnectionId, DeviceId, Interval, JobId, Priority, ProviderName, ResourceName, TenantId};
use serde::{Deserialize, Serialize};

/// Whether a job is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Scheduled.
    Active,
    /// Its owner said: not now.
    Paused,
    /// Taken off the schedule because it cannot succeed as it is; its reason is kept.
    Parked,
}

impl JobState {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Parked => "parked",
        }
    }

    /// The state of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Active, Self::Paused, Self::Parked].into_iter().find(|s| s.as_str() == word)
    }
}

/// What the schedule must know of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Itself.
    pub id: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it is fetched.
    pub provider: ProviderName,
    /// With which account.
    pub connection: ConnectionId,
    /// Which device's.
    pub device: DeviceId,
    /// The home or site inside the account; empty when the provider has none.
    pub group: String,
    /// Which of its resources.
    pub resource: ResourceName,
    /// How often it is asked to run.
    pub interval: Interval,
    /// How much it matters.
    pub priority: Priority,
    /// Whether it is scheduled.
    pub state: JobState,
    /// Counts the changes of this preference, from 1.
    pub version: i64,
}

impl Job {
    /// The lane: jobs that share a call and a credential. `<connection>`, or `<connection>.<group>`.
    pub fn lane(&self) -> String {
        lane(self.connection, &self.group)
    }
}

/// The lane of a connection's devices, or of those of one of its homes.
pub fn lane(connection: ConnectionId, group: &str) -> String {
    match group.is_empty() {
        true => connection.to_string(),
        false => format!("{connection}.{group}"),
    }
}
