//! What follows an attempt to deliver. Pure.

use crate::fetch::{NoReceipt, Receipt};
use crate::retry::Retry;
use crate::words::UnixMs;
use rand::Rng;
use std::time::Duration;

/// Waits between attempts.
const RETRY: Retry = Retry { base: Duration::from_secs(5), cap: Duration::from_secs(60 * 60) };
/// A receiver that asks for a longer wait is tried again after this.
const ASKED_MAX: Duration = Duration::from_secs(60 * 60);
const GONE: u16 = 410;

/// How deliveries went before an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Attempts that failed in a row.
    pub(super) attempts: u32,
    /// Since when none succeeded.
    pub(super) failing_since: Option<UnixMs>,
}

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was delivered, with this status.
    Delivered(u16),
    /// It failed, and is tried again at an instant.
    Retry(Failed, UnixMs),
    /// It failed, and nothing more is sent, for a reason.
    Disable(Failed, String),
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    /// How deliveries stand after it.
    pub(super) attempts: u32,
    /// Since when none succeeded.
    pub(super) since: UnixMs,
    /// The response's status, if there was one.
    pub(super) status: Option<u16>,
    /// Why.
    pub(super) error: String,
}

/// Decides what follows an attempt.
pub(super) fn decide(
    before: Standing,
    answer: &Result<Receipt, NoReceipt>,
    now: UnixMs,
    disable_after: Duration,
    rng: &mut impl Rng,
) -> Verdict {
    let (status, error, asked_ms) = match answer {
        Ok(Receipt { status: status @ 200..=299, .. }) => return Verdict::Delivered(*status),
        Ok(Receipt { status, retry_after_ms, .. }) => (Some(*status), failure_text(*status), *retry_after_ms),
        Err(NoReceipt(why)) => (None, why.clone(), None),
    };
    let since = before.failing_since.unwrap_or(now);
    let failed = Failed { attempts: before.attempts.saturating_add(1), since, status, error };
    if status == Some(GONE) {
        return Verdict::Disable(failed, "the receiver answered 410 Gone".to_owned());
    }
    if now.since_ms(since) >= ms(disable_after) {
        let reason = format!("nothing could be delivered since {since}; at last: {}", failed.error);
        return Verdict::Disable(failed, reason);
    }
    let asked = Duration::from_millis(asked_ms.unwrap_or(0).max(0).unsigned_abs()).min(ASKED_MAX);
    let wait = RETRY.jittered(before.attempts, rng).max(asked);
    Verdict::Retry(failed, now.plus_ms(ms(wait)))
}

/// What a status that is no success means.
pub(super) fn failure_text(status: u16) -> String {
    match status {
        300..=399 => format!("the receiver answered {status}; redirects are not followed"),
        _ => format!("the receiver answered {status}"),
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    const FRESH: Standing = Standing { attempts: 0, failing_since: None };

    fn answered(status: u16, retry_after_s: Option<i64>) -> Result<Receipt, NoReceipt> {
        let retry_after_ms = retry_after_s.map(|s| s * 1000);
        Ok(Receipt { status, retry_after_ms, took: Duration::ZERO })
    }

    fn after(before: Standing, answer: &Result<Receipt, NoReceipt>, now: i64) -> Verdict {
        let mut rng = StdRng::seed_from_u64(now.unsigned_abs());
        decide(before, answer, UnixMs(now), Duration::from_secs(5 * 24 * 60 * 60), &mut rng)
    }

    fn wait_s(before: Standing, answer: &Result<Receipt, NoReceipt>) -> i64 {
        match after(before, answer, 1_000) {
            Verdict::Retry(_, at) => at.since_ms(UnixMs(1_000)) / 1000,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_2xx_is_delivered_and_everything_else_is_tried_again() {
        for status in [200, 202, 204, 299] {
            assert_eq!(after(FRESH, &answered(status, None), 0), Verdict::Delivered(status));
        }
        for status in [100, 199, 301, 307, 400, 401, 404, 429, 500, 503] {
            let verdict = after(FRESH, &answered(status, None), 7);
            let Verdict::Retry(failed, _) = verdict else { panic!("{status}: {verdict:?}") };
            assert_eq!((failed.attempts, failed.since, failed.status), (1, UnixMs(7), Some(status)));
        }
        let Verdict::Retry(failed, _) = after(FRESH, &Err(NoReceipt("no route".to_owned())), 7) else {
            panic!("a lost request is tried again");
        };
        assert_eq!((failed.status, failed.error.as_str()), (None, "no route"));
        assert!(failure_text(302).contains("not followed"));
    }

    #[test]
    fn waits_grow_from_seconds_to_an_hour() {
        for (attempts, least, most) in [(0, 2, 5), (1, 5, 10), (4, 40, 80), (40, 1_800, 3_600)] {
            let before = Standing { attempts, failing_since: Some(UnixMs(0)) };
            let wait = wait_s(before, &answered(500, None));
            assert!((least..=most).contains(&wait), "{attempts}: {wait}");
        }
    }

    #[test]
    fn asked_wait_is_kept_up_to_an_hour_and_never_shortens() {
        assert_eq!(wait_s(FRESH, &answered(503, Some(120))), 120);
        assert_eq!(wait_s(FRESH, &answered(503, Some(86_400))), 3_600);
        assert!(wait_s(FRESH, &answered(503, Some(0))) >= 2);
    }

    #[test]
    fn gone_disables_at_once_and_days_of_failure_do() {
        let verdict = after(FRESH, &answered(410, None), 0);
        assert!(matches!(&verdict, Verdict::Disable(_, why) if why.contains("410 Gone")), "{verdict:?}");
        let failing = Standing { attempts: 90, failing_since: Some(UnixMs(0)) };
        assert!(matches!(after(failing, &answered(500, None), 5 * DAY_MS - 1), Verdict::Retry(..)));
        let verdict = after(failing, &answered(500, None), 5 * DAY_MS);
        let Verdict::Disable(failed, why) = &verdict else { panic!("{verdict:?}") };
        assert!(
            failed.attempts == 91 && why.contains("since 1970-01-01") && why.contains("answered 500"),
            "{why}"
        );
    }
}
