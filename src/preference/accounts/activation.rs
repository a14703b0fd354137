//! Connections that are active again: their owner authorized them, or they have new secrets. One that a person paused
//! stays paused.

use super::connections::ConnectionError;
use crate::postgres::{Pool, PostgresError};
use crate::seal::Sealer;
use crate::words::{Connection, ConnectionId, Granted, Secrets, TenantId, Token, UnixMs};
use sqlx::PgExecutor;

/// Stores the token of an authorization that its owner completed, and activates the connection; unless it got other
/// secrets or was closed since it was read.
pub async fn allow(
    pool: &Pool,
    sealer: &Sealer,
    connection: &Connection,
    granted: &Granted,
    asked_at: UnixMs,
) -> Result<(), ConnectionError> {
    let token = Token::first(granted, asked_at);
    let sealed = sealer.seal_token(connection.id, &token)?;
    let allowed = sqlx::query_scalar!(
        r#"WITH mended AS (
             UPDATE connections SET state = CASE state WHEN 'paused' THEN state ELSE 'active' END,
                    state_reason = NULL, state_at = now(), bootstrap = '{}', bootstrap_of = NULL,
                    bootstrap_at = NULL, secrets_version = secrets_version + 1
             WHERE tenant_id = $1 AND connection_id = $2 AND secrets_version = $7
             RETURNING tenant_id, connection_id, provider),
         kept AS (
             INSERT INTO tokens (tenant_id, connection_id, sealed, generation, renew_at, expires_at, asked_at)
             SELECT tenant_id, connection_id, $3::bytea, 1, $4::timestamptz, $5::timestamptz, $6::timestamptz
             FROM mended
             ON CONFLICT (tenant_id, connection_id) DO UPDATE SET sealed = $3, generation = tokens.generation + 1,
                 renew_at = $4, expires_at = $5, asked_at = $6, renewing_until = NULL, failures = 0, retry_at = NULL,
                 failure = NULL),
         -- A drop that was decided before this names an older version, so it leaves the job on the schedule.
         newer AS (
             UPDATE jobs j SET version = j.version + 1
             FROM mended m JOIN devices d USING (tenant_id, connection_id)
             WHERE j.tenant_id = d.tenant_id AND j.device_id = d.device_id RETURNING j.provider, j.job_id),
         noted AS (INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM newer),
         notified AS (SELECT pg_notify('paceline_outbox', '')::text FROM mended)
         SELECT (SELECT count(*) FROM mended) + 0 * (SELECT count(*) FROM notified) AS "allowed!""#,
        connection.tenant.0,
        connection.id.0,
        sealed,
        token.renew_at.map(UnixMs::to_datetime),
        token.expires_at.map(UnixMs::to_datetime),
        asked_at.to_datetime(),
        connection.secrets_version
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("store the authorization"))?;
    match allowed {
        0 => Err(ConnectionError::Changed(connection.id)),
        _ => Ok(()),
    }
}

/// Replaces all secrets of a connection and activates it. Tokens and bootstrap values of the old ones are deleted.
pub async fn reauthorise(
    db: impl PgExecutor<'_>,
    sealer: &Sealer,
    tenant: TenantId,
    id: ConnectionId,
    secrets: &Secrets,
) -> Result<(), ConnectionError> {
    let sealed = sealer.seal_secrets(id, secrets)?;
    let hit = sqlx::query!(
        "WITH forgotten AS (
             UPDATE tokens SET sealed = NULL, generation = generation + 1, renew_at = NULL, expires_at = NULL,
                    renewing_until = NULL, failures = 0, retry_at = NULL, failure = NULL
             WHERE tenant_id = $1 AND connection_id = $2),
         mended AS (
             UPDATE connections SET secret_sealed = $3, state = CASE state WHEN 'paused' THEN state ELSE 'active' END,
                    state_reason = NULL, state_at = now(),
                    bootstrap = '{}', bootstrap_of = NULL, bootstrap_at = NULL, secrets_version = secrets_version + 1
             WHERE tenant_id = $1 AND connection_id = $2 RETURNING tenant_id, connection_id, provider),
         -- A drop that was decided before this names an older version, so it leaves the job on the schedule.
         newer AS (
             UPDATE jobs j SET version = j.version + 1
             FROM mended m JOIN devices d USING (tenant_id, connection_id)
             WHERE j.tenant_id = d.tenant_id AND j.device_id = d.device_id RETURNING j.job_id)
         INSERT INTO outbox (provider, job_id) SELECT m.provider, n.job_id FROM mended m CROSS JOIN newer n
         RETURNING (SELECT pg_notify('paceline_outbox', ''))::text",
        tenant.0,
        id.0,
        sealed
    )
    .fetch_all(db)
    .await
    .map_err(PostgresError::on("renew the connection's secret"))?;
    tracing::info!(connection = id.0, jobs = hit.len(), "connection has a new secret");
    Ok(())
}
