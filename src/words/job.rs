//! A job: the recurring sync of one resource of one device.

use super::{ConnectionId, DeviceId, Interval, JobId, Priority, ProviderName, ResourceName, TenantId};
use serde::{Deserialize, Serialize};

/// Whether a job is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Scheduled.
    Active,
    /// Paused by its owner.
    Paused,
    /// Scheduled, behind those that are well and ever more rarely, because it keeps failing; the reason is stored. Its
    /// next success makes it active again.
    Probing,
}

/// Where a job's preference stands: the nearest one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobOrigin {
    /// At the device itself.
    Device,
    /// At the device's home or site.
    Group,
    /// At its connection.
    Connection,
    /// Nowhere: the provider's defaults apply.
    Provider,
}

impl JobOrigin {
    /// The name in Postgres and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Group => "group",
            Self::Connection => "connection",
            Self::Provider => "provider",
        }
    }

    /// The origin of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Device, Self::Group, Self::Connection, Self::Provider]
            .into_iter()
            .find(|one| one.as_str() == name)
    }
}

impl JobState {
    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Probing => "probing",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Paused, Self::Probing].into_iter().find(|s| s.as_str() == name)
    }

    /// Whether a job in this state is on the schedule.
    pub fn is_scheduled(self) -> bool {
        matches!(self, Self::Active | Self::Probing)
    }
}

/// A job as the schedule needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The tenant that owns it.
    pub tenant: TenantId,
    /// The provider to fetch from.
    pub provider: ProviderName,
    /// The account to fetch with.
    pub connection: ConnectionId,
    /// The device.
    pub device: DeviceId,
    /// The group (home or site) within the connection; empty for none.
    pub group: String,
    /// The resource.
    pub resource: ResourceName,
    /// The requested interval.
    pub interval: Interval,
    /// The priority.
    pub priority: Priority,
    /// Whether it is scheduled.
    pub state: JobState,
    /// Version of the preference: counts its changes, from 1.
    pub version: i64,
}

impl Job {
    /// The job's lane: `<connection>` or `<connection>.<group>`. Jobs of one lane can share a call and a credential.
    pub fn lane(&self) -> String {
        lane(self.connection, &self.group)
    }
}

/// The lane of a connection, or of a group within it.
pub fn lane(connection: ConnectionId, group: &str) -> String {
    match group.is_empty() {
        true => connection.to_string(),
        false => format!("{connection}.{group}"),
    }
}
