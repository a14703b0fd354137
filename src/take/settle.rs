//! What `settle.lua` is told of a call.

use crate::words::{CallId, DeviceId, Hold, JobId, Scope, UnixMs};
use serde::{Serialize, Serializer};

/// The end of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Which.
    pub call: CallId,
    /// It was never made: what it spent may go back.
    pub unsent: bool,
    /// Where each of its jobs goes; one left out goes back to its rank.
    pub jobs: Vec<(JobId, Verdict)>,
    /// What was learned about calls to come; with the device for `Scope::Device`.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
}

/// In which way a job failed. Unlike failures do not add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// It may pass.
    Transient = 1,
    /// The credential.
    Unauthorized = 2,
    /// The device is not known.
    Gone = 3,
    /// The answer cannot be understood.
    Broken = 4,
}

/// Where a job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It ran, sent at this instant: next at the next point of its grid.
    Done(UnixMs),
    /// Back to its rank, as though nothing had happened.
    Again,
    /// One attempt more of this kind of failure, due after so many ms.
    Later(u64, Kind),
    /// One attempt more of this kind; the next turn is on the grid, at least so many ms away.
    Miss(u64, Kind),
    /// The turn is given up: next at the next point of its grid.
    Skip,
    /// Off the schedule, unless its owner has spoken since this version of the preference.
    Drop(i64),
}

impl Serialize for Settlement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let jobs: Vec<_> = self.jobs.iter().map(|(job, verdict)| word(*job, *verdict)).collect();
        let holds: Vec<_> = self
            .holds
            .iter()
            .filter(|(hold, device)| hold.scope != Scope::Device || device.is_some())
            .map(|(hold, device)| {
                (hold.scope.as_str(), hold.until.0, hold.reason.as_str(), device.map_or(0, |d| d.0))
            })
            .collect();
        (self.call, self.unsent, jobs, holds).serialize(serializer)
    }
}

fn word(job: JobId, verdict: Verdict) -> (JobId, &'static str, i64, u8) {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    match verdict {
        Verdict::Done(sent) => (job, "done", sent.0, 0),
        Verdict::Again => (job, "again", 0, 0),
        Verdict::Later(delay, kind) => (job, "later", ms(delay), kind as u8),
        Verdict::Miss(least, kind) => (job, "miss", ms(least), kind as u8),
        Verdict::Skip => (job, "skip", 0, 0),
        Verdict::Drop(version) => (job, "drop", version, 0),
    }
}
