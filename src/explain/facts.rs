//! What is known about a job that is to be explained.

use crate::preference::job_status::JobStatus;
use crate::provider::Provider;
use crate::schedule::JobLocation;
use crate::words::{DeviceId, Incident, UnixMs};

/// For whom a job is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Who runs Paceline.
    Operator,
    /// Who owns the device, or reads it.
    User,
}

/// The facts about a job.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// When they were read.
    pub now: UnixMs,
    /// Its device.
    pub device: DeviceId,
    /// Its device's provider.
    pub provider: &'a Provider,
    /// Whether the provider's schedule is built on this run of Redis; until then nothing is granted.
    pub is_built: bool,
    /// Its status in Postgres.
    pub status: &'a JobStatus,
    /// Its location in the schedule.
    pub location: &'a JobLocation,
    /// The provider's incident, if one lasts.
    pub incident: Option<&'a Incident>,
    /// The interval it gets in the long run, if that is longer than it asks.
    pub plan: Option<&'a str>,
    /// For whom it is explained.
    pub audience: Audience,
}
