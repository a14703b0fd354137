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
pub enum FailureKind {
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
    Later(u64, FailureKind),
    /// One attempt more of this kind; the next turn is on the grid, at least so many ms away.
    Miss(u64, FailureKind),
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

    /// The call's place in its lease.
    fn place(&self) -> char {
        char::from(DIGITS[self.call.0.rem_euclid(CALLS_A_LEASE) as usize])
    }

    /// The job and when it was sent, of a call for one that went well and has nothing more to say.
    fn went_well(&self) -> Option<(JobId, UnixMs)> {
        match self.jobs[..] {
            [(job, Verdict::Done(sent))]
                if self.end == End::Good && self.holds.is_empty() && self.also.is_empty() =>
            {
                Some((job, sent))
            }
            _ => None,
        }
    }
}

/// Settlements of one lease, as the script wants them.
pub(super) struct Lease<'a>(&'a [&'a Settlement]);

/// Puts a batch in the order in which the script is told of it, and in which it tells of calls that are stale.
///
/// An unsent call's grant goes back only while it is the last: so the last are ended first. In a lease, those that went
/// well stand before the others.
pub(super) fn order(batch: &mut [&Settlement]) {
    batch.sort_by_key(|s| match s.end {
        End::Unsent => (1, -s.lease(), false, -s.call.0),
        _ => (0, s.lease(), s.went_well().is_none(), s.call.0),
    });
}

/// An ordered batch, by leases.
pub(super) fn leases<'a>(batch: &'a [&'a Settlement]) -> Vec<Lease<'a>> {
    batch.chunk_by(|a, b| a.lease() == b.lease()).map(Lease).collect()
}

impl Serialize for Lease<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let lease = self.0.first().map_or(0, |s| s.lease());
        let (well, calls) = self.0.split_at(self.0.iter().take_while(|s| s.went_well().is_some()).count());
        (lease.to_string(), Well(well), calls).serialize(serializer)
    }
}

/// Calls for one job that went well: the usual end, told in three values each.
struct Well<'a>(&'a [&'a Settlement]);

impl Serialize for Well<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_seq(Some(3 * self.0.len()))?;
        for (call, (job, sent)) in self.0.iter().filter_map(|s| Some((s, s.went_well()?))) {
            row.serialize_element(&call.place())?;
            row.serialize_element(&job.to_string())?;
            row.serialize_element(&sent.0)?;
        }
        row.end()
    }
}

/// A row: what is told of the call, then of its jobs. Tables are dear to scripts.
impl Serialize for Settlement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Jobs that go the same way are told together: a call's jobs usually do.
        let together = || self.jobs.chunk_by(|a, b| a.1 == b.1);
        let mut row = serializer.serialize_seq(Some(4 + 4 * together().count() + self.jobs.len()))?;
        row.serialize_element(&self.place())?;
        row.serialize_element(self.end.as_str())?;
        some(&mut row, &self.told_holds())?;
        some(&mut row, &self.told_also())?;
        for jobs in together() {
            let Some((_, verdict)) = jobs.first() else { continue };
            let (word, number, kind) = word(*verdict);
            row.serialize_element(word)?;
            row.serialize_element(&number)?;
            row.serialize_element(&kind)?;
            row.serialize_element(&jobs.len())?;
            jobs.iter().try_for_each(|(job, _)| row.serialize_element(&job.to_string()))?;
        }
        row.end()
    }
}

impl Settlement {
    fn told_holds(&self) -> Vec<(&str, i64, &str, i64)> {
        self.holds
            .iter()
            .filter(|(hold, device)| hold.scope != Scope::Device || device.is_some())
            .map(|(hold, device)| {
                (hold.scope.as_str(), hold.until.0, hold.reason.as_str(), device.map_or(0, |d| d.0))
            })
            .collect()
    }

    fn told_also(&self) -> Vec<(String, i64)> {
        self.also.iter().map(|(job, sent)| (job.to_string(), sent.0)).collect()
    }
}

/// Most have nothing more to say.
fn some<R: SerializeSeq, T: Serialize>(row: &mut R, told: &[T]) -> Result<(), R::Error> {
    if told.is_empty() { row.serialize_element(&false) } else { row.serialize_element(told) }
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
