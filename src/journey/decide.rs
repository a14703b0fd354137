//! From an outcome to what becomes of the job. Pure: chance is handed in.

use crate::retry::Retry;
use crate::settings::Settings;
use crate::take::{FailureKind, GrantedJob, Verdict};
use crate::words::{Outcome, UnixMs};
use rand::Rng;
use std::time::Duration;

/// The bounds of patience.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// After failures that may pass.
    pub retry: Retry,
    /// So often, then the turn is given up.
    pub attempts_max: u32,
    /// So often "no such device", then the job is parked.
    pub gone_after: u32,
    /// So often an answer that cannot be understood, likewise.
    pub broken_after: u32,
}

impl Policy {
    /// As configured.
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

/// What becomes of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Where it goes.
    pub verdict: Verdict,
    /// Its turn was given up: it counts as failing.
    pub failing: bool,
    /// It leaves the schedule.
    pub park: bool,
    /// Its connection's credential is refused: all of the connection's jobs leave.
    pub reauth: bool,
}

impl Decision {
    fn just(verdict: Verdict) -> Self {
        Self { verdict, failing: false, park: false, reauth: false }
    }
}

/// Decides by the outcome, how the job fared before, and when the call was sent.
pub fn decide(
    outcome: &Outcome,
    job: &GrantedJob,
    sent_at: UnixMs,
    policy: &Policy,
    chance: &mut impl Rng,
) -> Decision {
    // Unlike failures do not add up: an outage on the way back must not park what answers 404 once.
    let failures = |kind: FailureKind| if job.kind == kind as u8 { job.attempts + 1 } else { 1 };
    let cap_ms = policy.retry.cap.as_millis() as u64;
    let mut later = |kind: FailureKind| {
        let wait = policy.retry.wait(failures(kind) - 1, chance);
        Verdict::Later(wait.as_millis() as u64, kind)
    };
    match outcome {
        Outcome::Fresh(_) | Outcome::Unchanged | Outcome::DeviceOffline => {
            Decision::just(Verdict::Done(sent_at))
        }
        Outcome::Throttled | Outcome::NotSent { .. } => Decision::just(Verdict::Again),
        // Once may be a hiccup of theirs; twice in a row is a no.
        Outcome::Unauthorized { .. } if failures(FailureKind::Unauthorized) >= 2 => {
            Decision { reauth: true, ..Decision::just(Verdict::Drop(job.version)) }
        }
        Outcome::Gone { .. } if failures(FailureKind::Gone) >= policy.gone_after => {
            Decision { park: true, ..Decision::just(Verdict::Drop(job.version)) }
        }
        Outcome::Broken { .. } if failures(FailureKind::Broken) >= policy.broken_after => {
            Decision { park: true, ..Decision::just(Verdict::Drop(job.version)) }
        }
        // Confirmed on the job's own turns, not in one bad minute.
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
    fn a_refusal_costs_neither_rank_nor_attempts() {
        assert_eq!(decided(&Outcome::Throttled, 5).verdict, Verdict::Again);
        assert_eq!(decided(&Outcome::NotSent { reason: String::new() }, 5).verdict, Verdict::Again);
    }

    #[test]
    fn what_may_pass_is_tried_within_bounds_and_then_skipped_as_failing() {
        let transient = Outcome::Transient { reason: String::new() };
        for attempts in 0..5 {
            assert!(matches!(decided(&transient, attempts).verdict, Verdict::Later(ms, _) if ms <= 60_000));
        }
        let given_up = decided(&transient, 5);
        assert_eq!((given_up.verdict, given_up.failing, given_up.park), (Verdict::Skip, true, false));
    }

    #[test]
    fn what_does_not_pass_is_parked_once_confirmed() {
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
    fn unlike_failures_do_not_add_up() {
        let gone = Outcome::Gone { reason: String::new() };
        assert!(!after(&gone, 5, FailureKind::Transient).park);
        let refused = Outcome::Unauthorized { reason: String::new() };
        assert!(!after(&refused, 5, FailureKind::Transient).reauth);
    }

    #[test]
    fn an_unreachable_device_keeps_its_normal_schedule() {
        assert_eq!(decided(&Outcome::DeviceOffline, 4).verdict, Verdict::Done(UnixMs(1000)));
    }
}
