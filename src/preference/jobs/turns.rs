//! Changes of the interval in force, by the time of day.

use super::windows::InForceCache;
use crate::postgres::{Pool, PostgresError};
use crate::words::UnixMs;

/// When to look again at windows that cannot be read.
const UNREADABLE_AGAIN_MS: i64 = 60 * 60 * 1000;

/// Puts the interval into force that holds now, for at most `limit` jobs that are due to be looked at, and notes them
/// in the outbox. Those whose interval changed are looked at again after `again_ms`. Returns how many were looked at.
///
/// The version stays: the preference is the same.
pub async fn turn(pool: &Pool, now: UnixMs, limit: i64, again_ms: i64) -> Result<u64, PostgresError> {
    let failed = || PostgresError::on("change intervals by the time of day");
    let mut tx = pool.begin().await.map_err(failed())?;
    let rows = sqlx::query!(
        r#"-- All tenants: the time of day changes for all.
           SELECT tenant_id, job_id, interval_ms, base_ms, windows, in_window FROM jobs
           WHERE turns_at <= $1 ORDER BY turns_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"#,
        now.to_datetime(),
        limit
    )
    .fetch_all(&mut tx)
    .await
    .map_err(failed())?;
    if rows.is_empty() {
        return Ok(0);
    }
    let (mut columns, mut known) = (Columns::default(), InForceCache::default());
    for row in &rows {
        let in_force = known.at(row.base_ms, row.windows.as_ref(), now);
        let interval_ms = in_force.as_ref().map_or(row.interval_ms, |it| it.interval.as_ms() as i64);
        let again = (interval_ms != row.interval_ms).then(|| now.plus_ms(again_ms));
        let next = match &in_force {
            Some(it) => again.map_or(it.turns_at, |again| again.min(it.turns_at)),
            // Another version of Paceline may be able to read it.
            None => {
                tracing::warn!(job = row.job_id, "a job's windows cannot be read; its interval stays");
                now.plus_ms(UNREADABLE_AGAIN_MS)
            }
        };
        columns.tenants.push(row.tenant_id);
        columns.jobs.push(row.job_id);
        columns.intervals.push(interval_ms);
        columns.in_window.push(in_force.map_or(row.in_window, |it| it.in_window));
        columns.turns.push(next.to_datetime());
    }
    sqlx::query!(
        "-- All tenants: those of above.
         WITH turned AS (
             UPDATE jobs j SET interval_ms = t.interval_ms, in_window = t.in_window, turns_at = t.turns_at
             FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::boolean[], $5::timestamptz[])
                  AS t (tenant_id, job_id, interval_ms, in_window, turns_at)
             WHERE j.tenant_id = t.tenant_id AND j.job_id = t.job_id RETURNING j.provider, j.job_id),
         noted AS (INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM turned)
         SELECT pg_notify('paceline_outbox', '')::text AS notified",
        &columns.tenants,
        &columns.jobs,
        &columns.intervals,
        &columns.in_window,
        &columns.turns
    )
    .fetch_all(&mut tx)
    .await
    .map_err(failed())?;
    tx.commit().await.map_err(failed())?;
    Ok(rows.len() as u64)
}

/// When the next job is to be looked at.
pub async fn next(pool: &Pool) -> Result<Option<UnixMs>, PostgresError> {
    let next = sqlx::query_scalar!(
        "-- All tenants: the time of day changes for all.
         SELECT min(turns_at) FROM jobs WHERE turns_at IS NOT NULL"
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("find the next change of an interval"))?;
    Ok(next.map(UnixMs::from))
}

#[derive(Default)]
struct Columns {
    tenants: Vec<i64>,
    jobs: Vec<i64>,
    intervals: Vec<i64>,
    in_window: Vec<bool>,
    turns: Vec<chrono::DateTime<chrono::Utc>>,
}
