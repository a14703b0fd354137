//! Rolls the history up, in batches of series: each is written with how far it came, so that whoever goes on after a
//! crash repeats one batch at most. What is there already is replaced, by the same.

use super::KeepError;
use crate::app::App;
use crate::postgres::{self, Pool};
use crate::record::history;
use crate::record::rollup::{self, Progress, Rollup, SeriesKey};
use crate::words::UnixMs;
use crate::words::series::{Level, Stretch};

/// Rolled up at a time where there is more to do than the newest bucket.
const BUCKETS_MAX: i64 = 12;
/// Buckets of series in a batch. A series with a reading per second has 300 in a bucket of five minutes.
const BATCH: i64 = 1_200;

/// Rolls up all that is due, unless another process is at it. Whether there was something.
pub async fn roll_up(app: &App) -> Result<bool, KeepError> {
    let Some(held) = postgres::try_lock(&app.pool, "paceline rollups").await? else { return Ok(false) };
    let done = all_levels(app).await;
    held.release().await;
    done
}

async fn all_levels(app: &App) -> Result<bool, KeepError> {
    let pool = &app.pool.for_long_statements();
    let late_ms = app.settings.history.late.as_ms().cast_signed();
    // Of what is younger, a reading may still be on its way.
    let mut complete = app.clock.now().plus_ms(-late_ms);
    let mut any = false;
    for level in Level::ALL {
        let Some(begun) = begin(pool, level).await? else { return Ok(any) };
        let mut progress = begun;
        let due = level.floor(complete);
        while progress.until < due {
            any = true;
            advance(pool, level, &mut progress, due).await?;
        }
        complete = progress.until;
    }
    Ok(any)
}

/// How far the level is: the beginning of the history if it was never begun; none if there is no history.
async fn begin(pool: &Pool, level: Level) -> Result<Option<Progress>, KeepError> {
    if let Some(progress) = rollup::progress(pool, level).await? {
        return Ok(Some(progress));
    }
    let Some(oldest) = history::oldest_day(pool).await? else { return Ok(None) };
    let until = level.floor(oldest);
    let begun = Progress { until, ends: until, done: SeriesKey::default() };
    rollup::set_progress(pool, level, &begun).await?;
    Ok(Some(begun))
}

/// Rolls up one batch of series.
async fn advance(pool: &Pool, level: Level, progress: &mut Progress, due: UnixMs) -> Result<(), KeepError> {
    if progress.ends <= progress.until {
        // Partitions are by month: within a day, one look is enough.
        let day_ends = Level::Day.floor(progress.until).plus_ms(Level::Day.ms());
        let ends = progress.until.plus_ms(BUCKETS_MAX * level.ms()).min(due);
        progress.ends = ends.min(day_ends).max(progress.until.plus_ms(level.ms()));
        rollup::ensure(pool, progress.until.to_datetime().date_naive()).await?;
    }
    let (from, to) = (progress.until, progress.ends);
    let limit = BATCH * level.ms() / to.since_ms(from).max(1);
    let series = rollup::series_after(pool, &progress.done, limit.max(1)).await?;
    let Some(last) = series.last().cloned() else {
        *progress = Progress { until: to, ends: to, done: SeriesKey::default() };
        return Ok(rollup::set_progress(pool, level, progress).await?);
    };
    let sources = rollup::sources(pool, level, &series, from, to).await?;
    progress.done = last;
    Ok(rollup::write(pool, level, &series, &by_bucket(level, sources), progress).await?)
}

/// Joins stretches of one series and one bucket, which come one after the other.
fn by_bucket(level: Level, sources: Vec<(usize, Stretch)>) -> Vec<Rollup> {
    let mut all: Vec<Rollup> = Vec::new();
    for (series, stretch) in sources {
        let bucket = level.floor(stretch.first_at);
        match all.last_mut() {
            Some(last) if last.series == series && last.bucket == bucket => last.stretch.join(stretch),
            _ => all.push(Rollup { series, bucket, stretch }),
        }
    }
    all
}
