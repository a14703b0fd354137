//! What is to be called for, and what comes of it.

use crate::words::{Connection, DeviceId, End, Hold, JobId, Outcome, Record, ResourceName, Validator};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A call to make.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whose account.
    pub connection: Arc<Connection>,
    /// What is asked for.
    pub resource: ResourceName,
    /// For whom: one device, or several of one lane.
    pub targets: Vec<Target>,
}

/// One device of a call.
#[derive(Debug, Clone)]
pub struct Target {
    /// Whose outcome it is.
    pub job: JobId,
    /// The device.
    pub device: DeviceId,
    /// The provider's id of it.
    pub external_id: String,
    /// Its home or site, or empty.
    pub group: String,
    /// What its last answer told of the state it was in.
    pub validator: Option<Validator>,
}

/// How a call ended.
#[derive(Debug, Default)]
pub struct Answer {
    /// How it ended, as far as quotas are concerned.
    pub end: End,
    /// One outcome a job of the call.
    pub outcomes: Vec<(JobId, Outcome)>,
    /// What was learned about calls to come; with the device for `Scope::Device`.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
    /// What it told of devices that were not asked for: the records have their ids.
    pub others: Vec<Record>,
    /// Bootstrap values of the account that it corrected.
    pub learned: BTreeMap<String, String>,
    /// What it told of the state it was in.
    pub validators: Validators,
}

/// What an answer told by which the next call asks only for what is new.
#[derive(Debug, Clone, Default)]
pub struct Validators {
    /// Of all that it told of.
    pub all: Option<Validator>,
    /// Of single jobs, where they have their own.
    pub of: HashMap<JobId, Validator>,
}

impl Validators {
    /// What is to be kept beside the reading of a job.
    pub fn of(&self, job: JobId) -> Option<&Validator> {
        self.of.get(&job).or(self.all.as_ref())
    }
}
