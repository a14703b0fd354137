//! Connections whose credentials are refused, and that are accepted again.

use crate::postgres::{Pool, PostgresError};
use crate::words::{ConnectionId, JobId};
use sqlx::PgExecutor;

/// Marks a new connection as waiting for its owner's authorization.
pub async fn wait_for_owner(
    db: impl PgExecutor<'_>,
    id: ConnectionId,
    reason: &str,
) -> Result<(), PostgresError> {
    sqlx::query!(
        "-- All tenants: the connection says whose it is.
         UPDATE connections SET state = 'needs_reauth', state_reason = $2, state_at = now()
         WHERE connection_id = $1 AND state <> 'paused'",
        id.0,
        reason
    )
    .execute(db)
    .await
    .map(drop)
    .map_err(PostgresError::on("mark the connection"))
}

/// Marks a connection whose secrets of this version were refused.
///
/// Returns the jobs to drop from the schedule, with their versions: all but the one that probes it. None if the
/// connection has newer secrets: the refusal does not concern them, and its jobs stay.
pub async fn needs_reauth(
    pool: &Pool,
    id: ConnectionId,
    reason: &str,
    secrets_version: i64,
) -> Result<Option<Vec<(JobId, i64)>>, PostgresError> {
    let rows = sqlx::query!(
        r#"-- All tenants: the connection says whose it is.
           WITH refused AS (
               SELECT tenant_id, connection_id FROM connections WHERE connection_id = $1 AND secrets_version = $3
               FOR NO KEY UPDATE),
           marked AS (
               UPDATE connections c SET state = 'needs_reauth', state_reason = $2, state_at = now() FROM refused r
               WHERE c.tenant_id = r.tenant_id AND c.connection_id = r.connection_id AND c.state = 'active')
           SELECT j.job_id AS "job_id?", j.version AS "version?" FROM refused
           LEFT JOIN devices d USING (tenant_id, connection_id)
           LEFT JOIN jobs j ON j.tenant_id = d.tenant_id AND j.device_id = d.device_id
                            AND NOT is_probe(d.tenant_id, d.connection_id, j.job_id)"#,
        id.0,
        reason,
        secrets_version
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("mark the connection"))?;
    let jobs = rows.iter().filter_map(|row| Some((JobId(row.job_id?), row.version?)));
    Ok((!rows.is_empty()).then(|| jobs.collect()))
}

/// Activates connections whose credentials the provider accepts again: all of their jobs return to the schedule.
pub async fn restore(pool: &Pool, ids: &[i64]) -> Result<(), PostgresError> {
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- All tenants: calls that end together are of any.
         WITH mended AS (
             UPDATE connections SET state = 'active', state_reason = NULL, state_at = now()
             WHERE connection_id = ANY($1) AND state = 'needs_reauth' RETURNING tenant_id, connection_id, provider),
         -- A drop that was decided before this names an older version, so it leaves the job on the schedule.
         newer AS (
             UPDATE jobs j SET version = j.version + 1
             FROM mended m JOIN devices d USING (tenant_id, connection_id)
             WHERE j.tenant_id = d.tenant_id AND j.device_id = d.device_id RETURNING j.provider, j.job_id),
         noted AS (INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM newer)
         SELECT pg_notify('paceline_outbox', '')::text AS notified FROM mended",
        ids
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("activate the connections"))?;
    Ok(())
}
