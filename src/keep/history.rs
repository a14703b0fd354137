//! Partitions of the history, one per day: creates the next ones and drops old ones. Forgets old refreshes and
//! requests, too.

use super::KeepError;
use crate::app::App;
use crate::postgres;
use crate::preference::{idempotency, refreshes};
use crate::record::{history, rollup};
use crate::words::UnixMs;
use crate::words::series::Level;

/// Partitions created ahead, in days: no keeper may run for a weekend.
const AHEAD: u64 = 3;
/// Whoever asked for a refresh has long had an answer.
const REFRESHES_KEPT_MS: i64 = 24 * 60 * 60 * 1000;
/// A client that repeats a request does so soon.
const REQUESTS_KEPT_MS: i64 = 24 * 60 * 60 * 1000;

pub(super) async fn turn(app: &App) -> Result<(), KeepError> {
    // Another process does it right now.
    let Some(held) = postgres::try_lock(&app.pool, "paceline history").await? else { return Ok(()) };
    let done = maintain(app).await;
    held.release().await;
    done
}

async fn maintain(app: &App) -> Result<(), KeepError> {
    let now = app.clock.now();
    let ensured = history::ensure(&app.pool, now, AHEAD).await;
    let settings = &app.settings.history;
    // Also after a failure: a day that cannot be created is no reason to fill the disk.
    let rolled_until = rollup::progress(&app.pool, Level::FiveMinutes).await?.map_or(now, |it| it.until);
    let dropped =
        history::drop_old(&app.pool, now, days_to_keep(settings.keep_days, rolled_until, now)).await;
    let levels = [
        (Level::FiveMinutes, settings.keep_days_5m),
        (Level::Hour, settings.keep_days_1h),
        (Level::Day, settings.keep_days_1day),
    ];
    let rollups = history::drop_old_rollups(&app.pool, now, &levels).await;
    for partition in dropped.names.iter().chain(&rollups.names) {
        tracing::info!(partition, "history dropped: older than the settings of [history] keep it");
    }
    let forgotten = refreshes::forget(&app.pool, now.plus_ms(-REFRESHES_KEPT_MS)).await;
    let requests = idempotency::forget(&app.pool, now.plus_ms(-REQUESTS_KEPT_MS)).await;
    ensured.and(dropped.result).and(rollups.result).and(forgotten).and(requests).map_err(KeepError::from)
}

/// What is not rolled up yet is kept, as after a long time without a keeper; but not more than twice as long.
fn days_to_keep(keep_days: u64, rolled_until: UnixMs, now: UnixMs) -> u64 {
    let behind = u64::try_from(now.since_ms(rolled_until) / Level::Day.ms()).unwrap_or(0);
    (behind + 1).clamp(keep_days, keep_days.saturating_mul(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_rolled_up_is_kept_for_a_while() {
        let now = UnixMs(1_773_144_000_000);
        let keep = |behind_days: i64| days_to_keep(30, now.plus_ms(-behind_days * Level::Day.ms()), now);
        assert_eq!([0, 29, 40, 59, 400].map(keep), [30, 30, 41, 60, 60]);
    }
}
