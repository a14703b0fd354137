//! Which list of a connection's devices is under way, and when the next one is tried. A claim is a number and a time in
//! the connection's row, so that no lock or transaction is held while a provider is asked; one that a dead process held
//! expires.

use crate::postgres::{Pool, PostgresError};
use crate::words::{ConnectionId, TenantId};
use std::time::Duration;

/// A started listing of a connection's devices. Of two, the one with the greater number counts.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Whose.
    pub tenant: TenantId,
    /// Of which account.
    pub connection: ConnectionId,
    /// Its fence.
    pub(super) number: i64,
    /// Attempts in a row before it that brought no list.
    pub failures: u32,
}

/// Begins a list that somebody asked for. None: there is no such connection.
pub async fn claim(
    pool: &Pool,
    tenant: TenantId,
    connection: ConnectionId,
) -> Result<Option<Claim>, PostgresError> {
    let row = sqlx::query!(
        "UPDATE connections SET discovery_claim = discovery_claim + 1
         WHERE tenant_id = $1 AND connection_id = $2 RETURNING discovery_claim, discovery_failures",
        tenant.0,
        connection.0
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("begin a list of devices"))?;
    Ok(row.map(|row| Claim {
        tenant,
        connection,
        number: row.discovery_claim,
        failures: row.discovery_failures.unsigned_abs(),
    }))
}

/// Begins lists that are due at these providers, those that are due longest first; with each its provider's name. A
/// list is due `every` so often, and after one that failed when its retry is. Whoever dies over it leaves it to others
/// after `lease`.
pub async fn claim_due(
    pool: &Pool,
    providers: &[String],
    every: Duration,
    lease: Duration,
    limit: i64,
) -> Result<Vec<(Claim, String)>, PostgresError> {
    let rows = sqlx::query!(
        "-- All tenants: a list may be due for any.
         WITH due AS (
             SELECT tenant_id, connection_id FROM connections
             WHERE state = 'active' AND provider = ANY($1)
               AND (discovery_retry_at IS NULL OR discovery_retry_at <= now())
               AND (discovery_at IS NULL OR discovery_error IS NOT NULL
                    OR discovery_at < now() - make_interval(secs => $2::float8))
             ORDER BY COALESCE(discovery_retry_at, discovery_at + make_interval(secs => $2::float8), created_at),
                      connection_id
             LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE connections c SET discovery_claim = c.discovery_claim + 1,
                discovery_retry_at = now() + make_interval(secs => $3::float8)
         FROM due WHERE c.tenant_id = due.tenant_id AND c.connection_id = due.connection_id
         RETURNING c.tenant_id, c.connection_id, c.provider, c.discovery_claim, c.discovery_failures",
        providers,
        every.as_secs_f64(),
        lease.as_secs_f64(),
        limit
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("begin the lists of devices that are due"))?;
    let claimed = rows.into_iter().map(|row| {
        let claim = Claim {
            tenant: TenantId(row.tenant_id),
            connection: ConnectionId(row.connection_id),
            number: row.discovery_claim,
            failures: row.discovery_failures.unsigned_abs(),
        };
        (claim, row.provider)
    });
    Ok(claimed.collect())
}

/// Notes that the provider was asked and gave no list, and when it is tried again.
pub async fn failed(pool: &Pool, claim: Claim, why: &str, retry: Duration) -> Result<(), PostgresError> {
    sqlx::query!(
        "UPDATE connections SET discovery_at = now(), discovery_error = $4,
                discovery_failures = discovery_failures + 1,
                discovery_retry_at = now() + make_interval(secs => $5::float8)
         WHERE tenant_id = $1 AND connection_id = $2 AND discovery_kept < $3",
        claim.tenant.0,
        claim.connection.0,
        claim.number,
        why,
        retry.as_secs_f64()
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("note that devices could not be listed"))
}

/// Notes that the provider could not be asked, and when it is tried again.
pub async fn put_off(pool: &Pool, claim: Claim, retry: Duration) -> Result<(), PostgresError> {
    sqlx::query!(
        "UPDATE connections SET discovery_failures = discovery_failures + 1,
                discovery_retry_at = now() + make_interval(secs => $4::float8)
         WHERE tenant_id = $1 AND connection_id = $2 AND discovery_claim = $3",
        claim.tenant.0,
        claim.connection.0,
        claim.number,
        retry.as_secs_f64()
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("put off a list of devices"))
}
