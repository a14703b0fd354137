//! The failures in a row of jobs that a lost schedule has forgotten: their waits go on where they were.

use super::KeepError;
use crate::app::App;
use crate::preference::jobs::StoredJob;
use crate::record::{self, LastFailures};
use crate::schedule::FailuresInARow;
use crate::take::{FailureKind, TakerSettings};
use crate::words::JobId;
use std::collections::HashMap;

/// The failures of those of these jobs whose last call failed.
pub(super) async fn of(app: &App, jobs: &[StoredJob]) -> Result<HashMap<JobId, FailuresInARow>, KeepError> {
    let ids: Vec<i64> = jobs.iter().map(|stored| stored.job.id.0).collect();
    let mut recorded = record::last_failures(&app.pool, &ids).await?;
    let settings = app.taker_settings();
    let found = jobs.iter().filter_map(|stored| {
        let failures = in_a_row(&settings, stored, recorded.remove(&stored.job.id)?)?;
        Some((stored.job.id, failures))
    });
    Ok(found.collect())
}

/// Failures of different kinds do not add up. The wait is that of `journey/decide.rs`.
fn in_a_row(settings: &TakerSettings, stored: &StoredJob, last: LastFailures) -> Option<FailuresInARow> {
    let (interval, first) = (stored.job.interval, last.outcomes.first()?);
    let kind = FailureKind::named(first)?;
    let attempts = last.outcomes.iter().take_while(|outcome| *outcome == first).count();
    let intervals = kind.intervals_after(attempts as u32).unwrap_or(0);
    let longest_ms = kind.wait_max_ms(settings.waits_max, interval, stored.last_run.is_some());
    let wait_ms = interval.as_ms().saturating_mul(intervals).min(longest_ms);
    let due_after = last.at.plus_ms(wait_ms.cast_signed() - interval.as_ms().cast_signed());
    Some(FailuresInARow { attempts: attempts as u8, kind: kind as u8, due_after })
}
