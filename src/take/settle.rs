//! What `settle.lua` is told of a call.

use crate::words::{CallId, DeviceId, End, Hold, JobId, Scope, UnixMs};
use serde::ser::SerializeSeq;
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

/// How many calls share a lease; `take.lua` counts by it too. Few, because Redis looks for one among them one by one.
const CALLS_A_LEASE: i64 = 32;
/// A call's place in its lease.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

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

impl Settlement {
    /// The number of the call's lease.
    pub(super) fn lease(&self) -> i64 {
        self.call.0 - self.call.0.rem_euclid(CALLS_A_LEASE)
    }
}

/// Settlements of one lease, as the script wants them.
pub(super) struct Lease<'a>(pub(super) &'a [&'a Settlement]);

impl Serialize for Lease<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lease = self.0.first().map_or(0, |s| s.lease());
        (lease.to_string(), self.0).serialize(serializer)
    }
}

impl Serialize for Settlement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = self.call.0.rem_euclid(CALLS_A_LEASE) as usize;
        let digit = char::from(DIGITS[place]);
        let verdicts = verdicts(&self.jobs);
        // Most have nothing more to say.
        if self.holds.is_empty() && self.also.is_empty() {
            return (digit, self.end.as_str(), verdicts).serialize(serializer);
        }
        let holds: Vec<_> = self
            .holds
            .iter()
            .filter(|(hold, device)| hold.scope != Scope::Device || device.is_some())
            .map(|(hold, device)| {
                (hold.scope.as_str(), hold.until.0, hold.reason.as_str(), device.map_or(0, |d| d.0))
            })
            .collect();
        let also: Vec<_> = self.also.iter().map(|(job, sent)| (job.to_string(), sent.0)).collect();
        (digit, self.end.as_str(), verdicts, holds, also).serialize(serializer)
    }
}

/// Jobs that go the same way are told together: a call's jobs usually do.
fn verdicts(jobs: &[(JobId, Verdict)]) -> Vec<Together> {
    let mut groups: Vec<Together> = Vec::with_capacity(1);
    for (job, verdict) in jobs {
        match groups.last_mut() {
            Some(Together(same, ids)) if same == verdict => ids.push(job.to_string()),
            _ => groups.push(Together(*verdict, vec![job.to_string()])),
        }
    }
    groups
}

/// A verdict on several jobs: one row, the ids at its end.
struct Together(Verdict, Vec<String>);

impl Serialize for Together {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (word, number, kind) = word(self.0);
        let mut row = serializer.serialize_seq(Some(3 + self.1.len()))?;
        row.serialize_element(word)?;
        row.serialize_element(&number)?;
        row.serialize_element(&kind)?;
        self.1.iter().try_for_each(|id| row.serialize_element(id))?;
        row.end()
    }
}

fn word(verdict: Verdict) -> (&'static str, i64, u8) {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    match verdict {
        Verdict::Done(sent) => ("done", sent.0, 0),
        Verdict::Again => ("again", 0, 0),
        Verdict::Later(delay, kind) => ("later", ms(delay), kind as u8),
        Verdict::Miss(least, kind) => ("miss", ms(least), kind as u8),
        Verdict::Skip => ("skip", 0, 0),
        Verdict::Drop(version) => ("drop", version, 0),
    }
}
