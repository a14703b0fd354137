//! What `settle.lua` gets about a call.

use super::spec::JOBS_MAX;
use crate::redis::agreed::{LEASE_DIGITS, LEASE_WIDTH};
use crate::words::{CallId, DeviceId, End, Hold, Interval, JobId, Scope, UnixMs};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

/// The end of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The call's number.
    pub call: CallId,
    /// How it ended, as far as quotas are concerned.
    pub end: End,
    /// Where each of its jobs goes; one left out goes back to its rank.
    pub jobs: Vec<(JobId, Verdict)>,
    /// From when on further calls are allowed; with the device for `Scope::Device`.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
    /// Jobs that its answer has records of without being asked, and when it was sent: they are as fresh as its own.
    pub unsolicited: Vec<(JobId, UnixMs)>,
}

/// What became of settlements.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settled {
    /// Calls whose leases had expired: nothing was changed for them.
    pub stale: Vec<CallId>,
    /// In how many ms there is something to take because of this; none if it brought nothing.
    pub wake_in_ms: Option<f64>,
}

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
    /// The answer has nothing to read.
    NoData = 5,
}

/// A wait of so many doublings is longer than any limit.
const DOUBLINGS_MAX: u32 = 30;

impl FailureKind {
    /// The kind of an outcome of this name.
    pub fn named(outcome: &str) -> Option<Self> {
        match outcome {
            "transient" => Some(Self::Transient),
            "unauthorized" => Some(Self::Unauthorized),
            "gone" => Some(Self::Gone),
            "broken" => Some(Self::Broken),
            "no_data" => Some(Self::NoData),
            _ => None,
        }
    }

    /// How many intervals a job waits after so many failures of this kind in a row; none: it is retried early.
    pub fn intervals_after(self, failures: u32) -> Option<u64> {
        let may_pass = matches!(self, Self::Transient | Self::Unauthorized);
        let counted = failures.saturating_sub(u32::from(may_pass)).checked_sub(1)?;
        Some(1 << counted.min(DOUBLINGS_MAX))
    }

    /// The longest wait after failures of this kind in a row, ms: as `wait_max` of `lua/settle/jobs.lua`. `waits_max`
    /// are those of [`super::TakerSettings`]; `has_run`: whether the job has ever succeeded.
    pub fn wait_max_ms(self, waits_max: [Interval; 2], interval: Interval, has_run: bool) -> u64 {
        let ([passing, lasting], interval_ms) = (waits_max.map(Interval::as_ms), interval.as_ms());
        match self {
            Self::NoData if has_run => passing.max(4 * interval_ms),
            Self::Transient => passing.max(interval_ms),
            _ => lasting.max(interval_ms),
        }
    }
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
    /// One attempt more of this kind; next at the last point of the grid within so many intervals, up to
    /// [`super::TakerSettings::waits_max`].
    Miss(u64, FailureKind),
    /// Off the schedule, unless its owner has changed it since this version of the preference.
    Drop(i64),
}

impl Settled {
    /// There is something to take in so many ms; negative: not because of this.
    pub(super) fn wake_by(&mut self, ms: f64) {
        if ms >= 0.0 {
            self.wake_in_ms = Some(self.wake_in_ms.map_or(ms, |before| before.min(ms)));
        }
    }
}

impl Settlement {
    /// A call that was never made: all of its jobs go back to their rank.
    pub fn unsent(call: CallId) -> Self {
        Self { call, end: End::Unsent, jobs: Vec::new(), holds: Vec::new(), unsolicited: Vec::new() }
    }
}

impl Settlement {
    /// The number of the call's lease.
    pub(super) fn lease(&self) -> i64 {
        self.call.0 - self.call.0.rem_euclid(LEASE_WIDTH)
    }

    /// The call's place in its lease.
    fn place(&self) -> char {
        char::from(LEASE_DIGITS.as_bytes()[self.call.0.rem_euclid(LEASE_WIDTH) as usize])
    }

    /// The job and when it was sent, of a call for one that went well and has nothing more to say.
    fn went_well(&self) -> Option<(JobId, UnixMs)> {
        match self.jobs[..] {
            [(job, Verdict::Done(sent))]
                if self.end == End::Good && self.holds.is_empty() && self.unsolicited.is_empty() =>
            {
                Some((job, sent))
            }
            _ => None,
        }
    }
}

/// Settlements of one lease, as the script wants them.
pub(super) struct Lease<'a>(&'a [&'a Settlement]);

/// Puts a batch in the order in which the script gets it, by which it also counts calls that are stale.
///
/// An unsent call's grant goes back only while it is the last: so the last are ended first. In a lease, those that went
/// well stand before the others.
pub(super) fn order(batch: &mut [&Settlement]) {
    batch.sort_by_key(|s| match s.end {
        End::Unsent => (1, -s.lease(), false, -s.call.0),
        _ => (0, s.lease(), s.went_well().is_none(), s.call.0),
    });
}

/// An ordered batch in chunks of about [`JOBS_MAX`] jobs. `call_jobs_max`: the most jobs of a call, for those whose
/// settlements do not name them.
pub(super) fn chunks<'a>(
    mut batch: &'a [&'a Settlement],
    call_jobs_max: usize,
) -> impl Iterator<Item = &'a [&'a Settlement]> {
    let jobs = move |s: &Settlement| {
        let named = if s.jobs.is_empty() { call_jobs_max } else { s.jobs.len() };
        named + s.first_unsolicited().len()
    };
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = |s: &&&Settlement| {
            let before = sum;
            sum += jobs(s);
            before < JOBS_MAX
        };
        let (chunk, rest) = batch.split_at(batch.iter().take_while(fits).count());
        batch = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
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

/// Calls for one job that went well: the usual end, three values each.
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

/// A row: the call, then its jobs. Tables are expensive for scripts.
impl Serialize for Settlement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Jobs with the same verdict stand together: a call's jobs usually have one.
        let together = || self.jobs.chunk_by(|a, b| a.1 == b.1);
        let mut row = serializer.serialize_seq(Some(4 + 4 * together().count() + self.jobs.len()))?;
        row.serialize_element(&self.place())?;
        row.serialize_element(self.end.as_str())?;
        some(&mut row, &self.hold_rows())?;
        some(&mut row, &unsolicited_rows(self.first_unsolicited()))?;
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
    fn hold_rows(&self) -> Vec<(&str, i64, &str, i64, Option<i64>)> {
        self.holds
            .iter()
            .filter(|(hold, device)| hold.scope != Scope::Device || device.is_some())
            .map(|(hold, device)| {
                let device = device.map_or(0, |device| device.0);
                let reported =
                    hold.refusal.map(|refusal| refusal.reported_until.map_or(0, |reported| reported.0));
                (hold.scope.as_str(), hold.until.0, hold.reason.as_str(), device, reported)
            })
            .collect()
    }

    fn first_unsolicited(&self) -> &[(JobId, UnixMs)] {
        self.unsolicited.chunks(JOBS_MAX).next().unwrap_or_default()
    }

    /// Those beyond what one script handles, in chunks.
    pub(super) fn further_unsolicited(&self) -> impl Iterator<Item = &[(JobId, UnixMs)]> {
        self.unsolicited.chunks(JOBS_MAX).skip(1)
    }
}

/// As the script reads them.
pub(super) fn unsolicited_rows(jobs: &[(JobId, UnixMs)]) -> Vec<(String, i64)> {
    jobs.iter().map(|(job, sent)| (job.to_string(), sent.0)).collect()
}

/// Most calls have none: `false` is cheaper for a script than an empty table.
fn some<R: SerializeSeq, T: Serialize>(row: &mut R, rows: &[T]) -> Result<(), R::Error> {
    if rows.is_empty() { row.serialize_element(&false) } else { row.serialize_element(rows) }
}

fn word(verdict: Verdict) -> (&'static str, i64, u8) {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    match verdict {
        Verdict::Done(sent) => ("done", sent.0, 0),
        Verdict::Again => ("again", 0, 0),
        Verdict::Later(delay, kind) => ("later", ms(delay), kind as u8),
        Verdict::Miss(intervals, kind) => ("miss", ms(intervals), kind as u8),
        Verdict::Drop(version) => ("drop", version, 0),
    }
}
