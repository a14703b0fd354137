//! Jobs whose interval changes with the time of day.

use super::KeepError;
use crate::app::App;
use crate::preference::jobs::turns;
use crate::words::UnixMs;

/// Jobs that are looked at together.
const BATCH: i64 = 1_000;
/// After a change a job is put into the schedule once more: a process that read it before the change may have put it
/// with the interval of before.
const AGAIN_AFTER_MS: i64 = 30_000;

/// Puts the interval into force that holds now, for all jobs of which another did. Returns when the next is to be
/// looked at; none if no job has windows.
pub async fn turn(app: &App) -> Result<Option<UnixMs>, KeepError> {
    loop {
        let now = app.clock.now();
        let turned = turns::turn(&app.pool, now, BATCH, AGAIN_AFTER_MS).await?;
        if turned < BATCH as u64 {
            return Ok(turns::next(&app.pool).await?);
        }
    }
}
