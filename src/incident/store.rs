//! A row in Postgres per incident.

use crate::postgres::{Pool, PostgresError};
use crate::words::{Incident, ProviderName, UnixMs};

/// Stores an incident, unless it is there. With a new one, the states that connections and jobs entered since that
/// instant, while failures were too few to be an incident, are undone.
pub async fn open(
    pool: &Pool,
    provider: &ProviderName,
    incident: &Incident,
    since: UnixMs,
) -> Result<(), PostgresError> {
    let opened = sqlx::query!(
        "INSERT INTO incidents (provider, outcome, opened_at, failing, called) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (provider) WHERE closed_at IS NULL DO NOTHING",
        provider.as_str(),
        incident.outcome,
        incident.since.to_datetime(),
        incident.failing as i64,
        incident.called as i64,
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("store the incident"))?;
    if opened.rows_affected() > 0 {
        forgive(pool, provider, since).await?;
    }
    Ok(())
}

/// Ends the provider's incident, if there is one: what failed since `window_ms` before it is tried at once.
pub async fn close(pool: &Pool, provider: &ProviderName, window_ms: i64) -> Result<(), PostgresError> {
    let opened_at = sqlx::query_scalar!(
        "UPDATE incidents SET closed_at = now() WHERE provider = $1 AND closed_at IS NULL RETURNING opened_at",
        provider.as_str()
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("end the incident"))?;
    match opened_at {
        Some(at) => forgive(pool, provider, UnixMs::from(at).plus_ms(-window_ms)).await,
        None => Ok(()),
    }
}

/// The providers with an incident that lasts, as Postgres has it.
pub async fn lasting(pool: &Pool) -> Result<Vec<String>, PostgresError> {
    sqlx::query_scalar!("SELECT provider FROM incidents WHERE closed_at IS NULL")
        .fetch_all(pool)
        .await
        .map_err(PostgresError::on("read the incidents"))
}

/// Undoes the states that the provider's connections and jobs have entered since then by failing. Jobs whose last call
/// failed since then are tried at once: their versions are newer.
async fn forgive(pool: &Pool, provider: &ProviderName, since: UnixMs) -> Result<(), PostgresError> {
    sqlx::query!(
        "-- All tenants: an incident is a provider's, and ends for everybody.
         WITH usable AS (
             UPDATE connections c SET state = 'active', state_reason = NULL, state_at = now()
             WHERE c.provider = $1 AND c.state = 'needs_reauth' AND c.state_at >= $2
               -- A new one that waits for its owner has never had a reading.
               AND EXISTS (SELECT 1 FROM devices d JOIN latest l USING (tenant_id, device_id)
                           WHERE d.tenant_id = c.tenant_id AND d.connection_id = c.connection_id)
             RETURNING c.tenant_id, c.connection_id),
         tried AS (
             UPDATE jobs j SET version = j.version + 1,
                 failing_since = CASE WHEN j.failing_since < $2 THEN j.failing_since END,
                 state_at = CASE WHEN j.state = 'probing' AND j.state_at >= $2 THEN now() ELSE j.state_at END,
                 state_reason = CASE WHEN j.state = 'probing' AND j.state_at >= $2 THEN NULL
                                     ELSE j.state_reason END,
                 state = CASE WHEN j.state = 'probing' AND j.state_at >= $2 THEN 'active' ELSE j.state END
             FROM devices d
             WHERE j.provider = $1 AND j.state IN ('active', 'probing')
               AND d.tenant_id = j.tenant_id AND d.device_id = j.device_id
               AND (j.last_error_at >= $2
                        AND NOT EXISTS (SELECT 1 FROM latest l
                                        WHERE (l.tenant_id, l.device_id, l.resource)
                                            = (j.tenant_id, j.device_id, j.resource)
                                          AND l.fetched_at > j.last_error_at)
                    OR (d.tenant_id, d.connection_id) IN (SELECT tenant_id, connection_id FROM usable))
             RETURNING j.provider, j.job_id),
         noted AS (INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM tried)
         SELECT pg_notify('paceline_outbox', '')::text AS notified FROM tried LIMIT 1",
        provider.as_str(),
        since.to_datetime()
    )
    .fetch_all(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("undo what an incident changed"))
}
