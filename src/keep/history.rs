//! Partitions of the history, one per day: creates the next ones and drops old ones.

use super::KeepError;
use crate::app::App;
use crate::postgres;
use crate::record::history;

/// Partitions created ahead, in days: no keeper may run for a weekend.
const AHEAD: u64 = 3;

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
    // Also after a failure: a day that cannot be created is no reason to fill the disk.
    let dropped = history::drop_old(&app.pool, now, app.settings.history.keep_days).await;
    for partition in &dropped.names {
        tracing::info!(partition, "history dropped: older than history.keep_days");
    }
    ensured.and(dropped.result).map_err(KeepError::from)
}
