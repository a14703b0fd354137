//! What `settle.lua` is told of a call.

use crate::words::{CallId, DeviceId, End, Hold, JobId, Scope, UnixMs};
use serde::{Serialize, Serializer};

/// The end of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// Which.
    pub call: CallId,
    /// How it ended, as far as quotas are concerned.
    pub end: End,
    /// Where each of its jobs goes; one left out goes back to its rank.
    pub jobs: Vec<(JobId, Verdict)>,
    /// What was learned about calls to come; with the device for `Scope::Device`.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
    /// Jobs that its answer told of without being asked, and when it was sent: their turn has come and gone.
    pub also: Vec<(JobId, UnixMs)>,
}

/// What became of settlements.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settled {
    /// Calls that were no longer held: nothing was changed for them.
    pub stale: Vec<CallId>,
    /// In how many ms there is something to take because of this; none if it brought nothing.
    pub wake_in_ms: Option<f64>,
}

/// How many calls of one take share a lease; `take.lua` counts by it too.
const CALLS_A_LEASE: i64 = 1024;

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

impl Settlement {
    /// A call that was never made: all of its jobs go back to their rank.
    pub fn unsent(call: CallId) -> Self {
        Self { call, end: End::Unsent, jobs: Vec::new(), holds: Vec::new(), also: Vec::new() }
    }
}

impl Serialize for Settlement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = self.call.0 % CALLS_A_LEASE;
        let lease = (self.call.0 - index).to_string();
        let holds: Vec<_> = self
            .holds
            .iter()
            .filter(|(hold, device)| hold.scope != Scope::Device || device.is_some())
            .map(|(hold, device)| {
                (hold.scope.as_str(), hold.until.0, hold.reason.as_str(), device.map_or(0, |d| d.0))
            })
            .collect();
        let also: Vec<_> = self.also.iter().map(|(job, sent)| (job.to_string(), sent.0)).collect();
        (lease, index, self.end.as_str(), verdicts(&self.jobs), holds, also).serialize(serializer)
    }
}

/// Jobs that go the same way are told together: a call's jobs usually do.
fn verdicts(jobs: &[(JobId, Verdict)]) -> Vec<(&'static str, i64, u8, Vec<String>)> {
    let mut groups: Vec<(Verdict, Vec<String>)> = Vec::new();
    for (job, verdict) in jobs {
        match groups.last_mut() {
            Some((same, ids)) if same == verdict => ids.push(job.to_string()),
            _ => groups.push((*verdict, vec![job.to_string()])),
        }
    }
    groups.into_iter().map(|(verdict, ids)| word(verdict, ids)).collect()
}

fn word(verdict: Verdict, ids: Vec<String>) -> (&'static str, i64, u8, Vec<String>) {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    match verdict {
        Verdict::Done(sent) => ("done", sent.0, 0, ids),
        Verdict::Again => ("again", 0, 0, ids),
        Verdict::Later(delay, kind) => ("later", ms(delay), kind as u8, ids),
        Verdict::Miss(least, kind) => ("miss", ms(least), kind as u8, ids),
        Verdict::Skip => ("skip", 0, 0, ids),
        Verdict::Drop(version) => ("drop", version, 0, ids),
    }
}
