//! Turns an outcome into a verdict on its job. Pure: the random generator is an argument.

use crate::retry::Retry;
use crate::settings::Settings;
use crate::take::{FailureKind, GrantedJob, Verdict};
use crate::words::{Outcome, UnixMs};
use rand::Rng;
use std::time::Duration;

/// Limits of retries.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Delays after transient failures.
    pub retry: Retry,
    /// Attempts per run; then the run is skipped.
    pub attempts_max: u32,
    /// A job is parked after so many "no such device" in a row.
    pub gone_after: u32,
    /// A job is parked after so many unusable responses in a row.
    pub broken_after: u32,
}

impl Policy {
    /// From the settings.
    pub fn of(settings: &Settings) -> Self {
        let ms = |interval: crate::words::Interval| Duration::from_millis(interval.as_ms());
        Self {
            retry: Retry { base: ms(settings.retry.base), cap: ms(settings.retry.cap) },
            attempts_max: settings.retry.attempts_max,
            gone_after: settings.park.gone_after,
            broken_after: settings.park.broken_after,
        }
    }
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Where the schedule puts it.
    pub verdict: Verdict,
    /// The run was skipped, or the failure is lasting: the job counts as failing.
    pub failing: bool,
    /// It leaves the schedule.
    pub park: bool,
    /// The provider refuses the connection's secrets: all of its jobs leave the schedule.
    pub reauth: bool,
}

impl Decision {
    fn just(verdict: Verdict) -> Self {
        Self { verdict, failing: false, park: false, reauth: false }
    }
}

/// Decides by the outcome, the job's earlier failures, and when the call was sent.
pub fn decide(
    outcome: &Outcome,
    job: &GrantedJob,
    sent_at: UnixMs,
    policy: &Policy,
    rng: &mut impl Rng,
) -> Decision {
    // Failures of different kinds do not add up: an outage followed by one 404 must not park the job.
    let failures = |kind: FailureKind| if job.kind == kind as u8 { job.attempts + 1 } else { 1 };
    let cap_ms = policy.retry.cap.as_millis() as u64;
    let mut later = |kind: FailureKind| {
        let wait = policy.retry.wait(failures(kind) - 1, rng);
        Verdict::Later(wait.as_millis() as u64, kind)
    };
    match outcome {
        Outcome::Fresh(_) | Outcome::Unchanged | Outcome::DeviceOffline => {
            Decision::just(Verdict::Done(sent_at))
        }
        Outcome::Throttled | Outcome::NotSent { .. } => Decision::just(Verdict::Again),
        // One refusal may be a glitch of the provider; two in a row are final.
        Outcome::Unauthorized { .. } if failures(FailureKind::Unauthorized) >= 2 => {
            Decision { reauth: true, ..Decision::just(Verdict::Drop(job.version)) }
        }
        Outcome::Gone { .. } if failures(FailureKind::Gone) >= policy.gone_after => {
            Decision { park: true, ..Decision::just(Verdict::Drop(job.version)) }
        }
        Outcome::Broken { .. } if failures(FailureKind::Broken) >= policy.broken_after => {
            Decision { park: true, ..Decision::just(Verdict::Drop(job.version)) }
        }
        // Confirmed at the job's regular runs, so that one bad minute parks nothing.
        Outcome::Gone { .. } => {
            Decision { failing: true, ..Decision::just(Verdict::Miss(cap_ms, FailureKind::Gone)) }
        }
        Outcome::Broken { .. } => {
            Decision { failing: true, ..Decision::just(Verdict::Miss(cap_ms, FailureKind::Broken)) }
        }
        Outcome::Transient { .. } if failures(FailureKind::Transient) >= policy.attempts_max => {
            Decision { failing: true, ..Decision::just(Verdict::Skip) }
        }
        Outcome::Transient { .. } => Decision::just(later(FailureKind::Transient)),
        Outcome::Unauthorized { .. } => Decision::just(later(FailureKind::Unauthorized)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::JobId;
    use rand::SeedableRng;

    const POLICY: Policy = Policy {
        retry: Retry { base: Duration::from_secs(1), cap: Duration::from_secs(60) },
        attempts_max: 6,
        gone_after: 3,
        broken_after: 10,
    };

    fn decided(outcome: &Outcome, attempts: u32) -> Decision {
        let kind = match outcome {
            Outcome::Unauthorized { .. } => FailureKind::Unauthorized,
            Outcome::Gone { .. } => FailureKind::Gone,
            Outcome::Broken { .. } => FailureKind::Broken,
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
    fn transient_failure_is_retried_within_bounds_then_skipped_as_failing() {
        let transient = Outcome::Transient { reason: String::new() };
        for attempts in 0..5 {
            assert!(matches!(decided(&transient, attempts).verdict, Verdict::Later(ms, _) if ms <= 60_000));
        }
        let skipped = decided(&transient, 5);
        assert_eq!((skipped.verdict, skipped.failing, skipped.park), (Verdict::Skip, true, false));
    }

    #[test]
    fn lasting_failure_parks_once_confirmed() {
        let gone = Outcome::Gone { reason: String::new() };
        assert!(!decided(&gone, 1).park);
        assert!(decided(&gone, 2).park);
        let broken = Outcome::Broken { reason: String::new(), excerpt: String::new() };
        assert!(!decided(&broken, 8).park);
        assert!(decided(&broken, 9).park);
        let refused = Outcome::Unauthorized { reason: String::new() };
        assert!(!decided(&refused, 0).reauth);
        assert!(decided(&refused, 1).reauth);
    }

    #[test]
    fn failures_of_different_kinds_do_not_add_up() {
        let gone = Outcome::Gone { reason: String::new() };
        assert!(!after(&gone, 5, FailureKind::Transient).park);
        let refused = Outcome::Unauthorized { reason: String::new() };
        assert!(!after(&refused, 5, FailureKind::Transient).reauth);
    }

    #[test]
    fn offline_device_keeps_its_schedule() {
        assert_eq!(decided(&Outcome::DeviceOffline, 4).verdict, Verdict::Done(UnixMs(1000)));
    }
}
