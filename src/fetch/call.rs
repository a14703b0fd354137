//! A call and its result.

use crate::words::{Connection, DeviceId, End, Hold, JobId, Outcome, Record, ResourceName, Validator};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A call to make.
#[derive(Debug, Clone)]
pub struct Call {
    /// The account to call with.
    pub connection: Arc<Connection>,
    /// The resource to fetch.
    pub resource: ResourceName,
    /// One device, or several of one lane.
    pub targets: Vec<Target>,
}

/// One device of a call.
#[derive(Debug, Clone)]
pub struct Target {
    /// The job that gets the outcome.
    pub job: JobId,
    /// The device.
    pub device: DeviceId,
    /// The provider's id of the device.
    pub external_id: String,
    /// The device's home or site, or empty.
    pub group: String,
    /// Validator of the device's last response.
    pub validator: Option<Validator>,
}

/// The result of a call.
#[derive(Debug, Default)]
pub struct CallResult {
    /// How the call ended, for quotas.
    pub end: End,
    /// One outcome per job of the call.
    pub outcomes: Vec<(JobId, Outcome)>,
    /// Holds on later calls; with the device for `Scope::Device`.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
    /// Unsolicited records, of devices that the call did not ask for; each has its device's id.
    pub others: Vec<Record>,
    /// Values and times that were left out of records.
    pub rejected: Vec<Rejected>,
    /// Bootstrap values of the account that the response corrects.
    pub bootstrap_values: BTreeMap<String, String>,
    /// Validators for the next calls.
    pub validators: Validators,
}

/// A value or a time that was left out of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The provider's id of the device; none if the call was for one device.
    pub external_id: Option<String>,
    /// What was left out, and why, as a sentence.
    pub reason: String,
}

/// The validators of a response, with which the next call can ask for changes only.
#[derive(Debug, Clone, Default)]
pub struct Validators {
    /// Of the whole response.
    pub all: Option<Validator>,
    /// Of single jobs that have their own.
    pub by_job: HashMap<JobId, Validator>,
}

impl Validators {
    /// The validator to store with the job's reading.
    pub fn of(&self, job: JobId) -> Option<&Validator> {
        self.by_job.get(&job).or(self.all.as_ref())
    }
}
