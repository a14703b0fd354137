//! Turns an outcome into a verdict on its job. Pure: the random generator is an argument.

use crate::retry::Retry;
use crate::settings::Settings;
use crate::take::{FailureKind, GrantedJob, Verdict};
use crate::words::{Outcome, Record, UnixMs};
use rand::Rng;
use std::time::Duration;

/// When failures in a row count as lasting.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The wait before the one early retry.
    pub early: Retry,
    /// Failures that may pass.
    pub failing_after: u32,
    /// "No such device".
    pub gone_after: u32,
    /// Unusable responses.
    pub broken_after: u32,
}

impl Policy {
    /// From the settings.
    pub fn of(settings: &Settings) -> Self {
        let base = Duration::from_millis(settings.retry.base.as_ms());
        Self {
            early: Retry { base, cap: base },
            failing_after: settings.retry.failing_after,
            gone_after: settings.probe.gone_after,
            broken_after: settings.probe.broken_after,
        }
    }
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Where the schedule puts it.
    pub verdict: Verdict,
    /// The failure is lasting: the job counts as failing.
    pub failing: bool,
    /// It is probing: behind all that are well, and ever more rarely, until it succeeds.
    pub probing: bool,
    /// The provider refuses the connection's secrets: all of its jobs but one leave the schedule.
    pub reauth: bool,
}

impl Decision {
    fn just(verdict: Verdict) -> Self {
        Self { verdict, failing: false, probing: false, reauth: false }
    }

    /// The decision if the failure is the provider's: the job runs again at its next turn, and no state changes.
    pub fn of_provider(self) -> Self {
        Self::just(match self.verdict {
            Verdict::Miss(_, kind) | Verdict::Later(_, kind) => Verdict::Miss(1, kind),
            other => other,
        })
    }
}

/// Decides by the outcome, the job's earlier failures, and when the call was sent.
///
/// A failure that may pass is retried early once. Apart from that a job waits 2^(n-1) of its intervals after the nth
/// failure of a kind in a row, up to a limit: failures cost no more calls than health, and nothing is off for good.
pub fn decide(
    outcome: &Outcome,
    job: &GrantedJob,
    sent_at: UnixMs,
    policy: &Policy,
    rng: &mut impl Rng,
) -> Decision {
    let kind = match outcome {
        Outcome::Fresh(_) | Outcome::Unchanged | Outcome::DeviceOffline => {
            return Decision::just(Verdict::Done(sent_at));
        }
        Outcome::Throttled | Outcome::NotSent { .. } => return Decision::just(Verdict::Again),
        Outcome::Transient { .. } => FailureKind::Transient,
        Outcome::Unauthorized { .. } => FailureKind::Unauthorized,
        Outcome::Gone { .. } => FailureKind::Gone,
        Outcome::Broken { .. } => FailureKind::Broken,
        Outcome::NoData { .. } => FailureKind::NoData,
    };
    // Failures of different kinds do not add up: an outage followed by one 404 says nothing of the device.
    let failures = if job.kind == kind as u8 { job.attempts + 1 } else { 1 };
    let missed = Decision::just(match kind.intervals_after(failures) {
        None => Verdict::Later(policy.early.wait(0, rng).as_millis() as u64, kind),
        Some(intervals) => Verdict::Miss(intervals, kind),
    });
    match kind {
        FailureKind::Transient => Decision { failing: failures >= policy.failing_after, ..missed },
        // One refusal may be a glitch of the provider; two in a row are about the connection.
        FailureKind::Unauthorized => Decision { reauth: failures >= 2, ..missed },
        FailureKind::Gone => Decision { failing: true, probing: failures >= policy.gone_after, ..missed },
        FailureKind::Broken => Decision { failing: true, probing: failures >= policy.broken_after, ..missed },
        FailureKind::NoData => missed,
    }
}

/// The verdict on a job whose connection got no token, because its credentials were refused.
pub fn refused(job: &GrantedJob) -> Verdict {
    let kind = FailureKind::Unauthorized;
    let failures = if job.kind == kind as u8 { job.attempts + 1 } else { 1 };
    Verdict::Miss(kind.intervals_after(failures + 2).unwrap_or(1), kind)
}

/// A provider's clock may be this much ahead of ours, ms.
const CLOCK_SKEW_MS: i64 = 60_000;

/// The record with a time that has passed: one in the future becomes that of the call, and counts as rejected.
pub fn past(record: &Record, fetched_at: UnixMs, rejected: &mut u64) -> Record {
    let is_future = record.observed_at.is_some_and(|at| at.since_ms(fetched_at) > CLOCK_SKEW_MS);
    *rejected += u64::from(is_future);
    let observed_at = if is_future { Some(fetched_at) } else { record.observed_at };
    Record { observed_at, ..record.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::JobId;
    use rand::SeedableRng;

    const POLICY: Policy = Policy {
        early: Retry { base: Duration::from_secs(1), cap: Duration::from_secs(1) },
        failing_after: 6,
        gone_after: 3,
        broken_after: 10,
    };

    fn decided(outcome: &Outcome, attempts: u32) -> Decision {
        let kind = match outcome {
            Outcome::Unauthorized { .. } => FailureKind::Unauthorized,
            Outcome::Gone { .. } => FailureKind::Gone,
            Outcome::Broken { .. } => FailureKind::Broken,
            Outcome::NoData { .. } => FailureKind::NoData,
            _ => FailureKind::Transient,
        };
        after(outcome, attempts, kind)
    }

    fn after(outcome: &Outcome, attempts: u32, kind: FailureKind) -> Decision {
        let job = GrantedJob { id: JobId(1), due: UnixMs(900), attempts, kind: kind as u8, version: 1 };
        decide(outcome, &job, UnixMs(1000), &POLICY, &mut rand::rngs::StdRng::seed_from_u64(1))
    }

    #[test]
    fn throttled_and_unsent_keep_rank_and_attempts() {
        assert_eq!(decided(&Outcome::Throttled, 5).verdict, Verdict::Again);
        assert_eq!(decided(&Outcome::NotSent { reason: String::new() }, 5).verdict, Verdict::Again);
    }

    #[test]
    fn every_failure_in_a_row_doubles_the_wait() {
        let reason = String::new;
        for (outcome, kind) in [
            (Outcome::Gone { reason: reason() }, FailureKind::Gone),
            (Outcome::Broken { reason: reason(), excerpt: reason() }, FailureKind::Broken),
            (Outcome::NoData { reason: reason() }, FailureKind::NoData),
        ] {
            for (failures, intervals) in [(0, 1), (1, 2), (2, 4), (9, 512), (255, 1 << 30)] {
                assert_eq!(decided(&outcome, failures).verdict, Verdict::Miss(intervals, kind));
            }
        }
        for (outcome, kind) in [
            (Outcome::Transient { reason: reason() }, FailureKind::Transient),
            (Outcome::Unauthorized { reason: reason() }, FailureKind::Unauthorized),
        ] {
            let early = decided(&outcome, 0).verdict;
            assert!(matches!(early, Verdict::Later(ms, of) if ms <= 1_000 && of == kind), "{early:?}");
            for (failures, intervals) in [(1, 1), (2, 2), (3, 4), (255, 1 << 30)] {
                assert_eq!(decided(&outcome, failures).verdict, Verdict::Miss(intervals, kind));
            }
        }
    }

    #[test]
    fn lasting_failure_is_marked_once_confirmed() {
        let transient = Outcome::Transient { reason: String::new() };
        assert!(!decided(&transient, 4).failing && decided(&transient, 5).failing);
        let gone = Outcome::Gone { reason: String::new() };
        assert!(!decided(&gone, 1).probing && decided(&gone, 2).probing);
        let broken = Outcome::Broken { reason: String::new(), excerpt: String::new() };
        assert!(!decided(&broken, 8).probing && decided(&broken, 9).probing);
        let refused = Outcome::Unauthorized { reason: String::new() };
        assert!(!decided(&refused, 0).reauth && decided(&refused, 1).reauth);
        let empty = Outcome::NoData { reason: String::new() };
        assert!(!decided(&empty, 100).probing && !decided(&empty, 100).failing);
    }

    #[test]
    fn failures_of_different_kinds_do_not_add_up() {
        let gone = Outcome::Gone { reason: String::new() };
        assert!(!after(&gone, 5, FailureKind::Transient).probing);
        let refused = Outcome::Unauthorized { reason: String::new() };
        assert!(!after(&refused, 5, FailureKind::Transient).reauth);
    }

    #[test]
    fn offline_device_keeps_its_schedule() {
        assert_eq!(decided(&Outcome::DeviceOffline, 4).verdict, Verdict::Done(UnixMs(1000)));
    }

    #[test]
    fn time_in_the_future_becomes_that_of_the_call() {
        let record = |at| Record {
            external_id: None,
            observed_at: Some(UnixMs(at)),
            online: true,
            values: serde_json::Map::new(),
        };
        let (mut rejected, now) = (0, UnixMs(1_000_000));
        assert_eq!(past(&record(1_030_000), now, &mut rejected).observed_at, Some(UnixMs(1_030_000)));
        assert_eq!(past(&record(1_090_000), now, &mut rejected).observed_at, Some(now));
        assert_eq!(rejected, 1);
    }
}
