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

/// Where a job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It ran, sent at this instant: next at the next point of its grid.
    Done(UnixMs),
    /// Back to its rank, as though nothing had happened.
    Again,
    /// One attempt more, due after so many ms.
    Later(u64),
    /// One attempt more; the next turn is on the grid, at least so many ms away.
    Miss(u64),
    /// The turn is given up: next at the next point of its grid.
    Skip,
    /// Off the schedule.
    Drop,
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

fn word(job: JobId, verdict: Verdict) -> (JobId, &'static str, i64) {
    match verdict {
        Verdict::Done(sent) => (job, "done", sent.0),
        Verdict::Again => (job, "again", 0),
        Verdict::Later(ms) => (job, "later", i64::try_from(ms).unwrap_or(i64::MAX)),
        Verdict::Miss(ms) => (job, "miss", i64::try_from(ms).unwrap_or(i64::MAX)),
        Verdict::Skip => (job, "skip", 0),
        Verdict::Drop => (job, "drop", 0),
    }
}
