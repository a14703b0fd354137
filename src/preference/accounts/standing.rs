//! What an owner changes of a connection as a whole: its label, whether it is paused, and that it is closed.

use super::connections::{ConnectionError, ConnectionRef};
use crate::postgres::{Pool, PostgresError, Transaction};
use crate::preference::tenants::room;
use crate::words::{Label, TenantId};

/// What to change; what is none stays.
#[derive(Debug, Default)]
pub struct ConnectionChange {
    /// Its label.
    pub label: Option<Label>,
    /// Whether it is paused. A connection that is resumed is active, whatever it was before it was paused.
    pub paused: Option<bool>,
}

/// Changes a connection. Its jobs follow through the outbox.
pub async fn change(
    pool: &Pool,
    tenant: TenantId,
    found: &ConnectionRef,
    change: ConnectionChange,
) -> Result<(), ConnectionError> {
    let mut tx = held(pool, tenant, found).await?;
    let changed = sqlx::query_scalar!(
        r#"WITH next AS (
               SELECT tenant_id, connection_id, state AS was,
                      CASE WHEN $4::boolean THEN 'paused'
                           WHEN NOT $4 AND state = 'paused' THEN 'active'
                           ELSE state END AS state
               FROM connections
               WHERE tenant_id = $1 AND connection_id = $2 AND ($4 IS NULL OR state <> 'closed')
               FOR NO KEY UPDATE),
           changed AS (
               UPDATE connections c SET label = coalesce($3, c.label), state = n.state,
                      state_reason = CASE WHEN n.state = n.was THEN c.state_reason END,
                      state_at = CASE WHEN n.state = n.was THEN c.state_at ELSE now() END
               FROM next n WHERE c.tenant_id = n.tenant_id AND c.connection_id = n.connection_id
               RETURNING c.tenant_id, c.connection_id, c.provider, n.state <> n.was AS moved),
           -- A drop that was decided before this names an older version, so it leaves the job on the schedule.
           newer AS (
               UPDATE jobs j SET version = j.version + 1
               FROM changed c JOIN devices d USING (tenant_id, connection_id)
               WHERE c.moved AND j.tenant_id = d.tenant_id AND j.device_id = d.device_id),
           -- Of a label, what is cached of its devices is renewed.
           noted AS (
               INSERT INTO outbox (provider, job_id)
               SELECT j.provider, j.job_id FROM changed c JOIN devices d USING (tenant_id, connection_id)
               JOIN jobs j ON j.tenant_id = d.tenant_id AND j.device_id = d.device_id
               WHERE c.moved OR $3 IS NOT NULL),
           notified AS (SELECT pg_notify('paceline_outbox', '')::text FROM changed)
           SELECT (SELECT count(*) FROM changed) + 0 * (SELECT count(*) FROM notified) AS "changed!""#,
        tenant.0,
        found.id.0,
        change.label.as_ref().map(Label::as_str),
        change.paused
    )
    .fetch_one(&mut tx)
    .await;
    match (changed, change.label) {
        (Ok(1), _) => {
            let committed = tx.commit().await;
            committed.map_err(PostgresError::on("change the connection"))?;
            Ok(())
        }
        (Ok(_), _) => Err(ConnectionError::Closed(found.id)),
        (Err(sqlx::Error::Database(error)), Some(label)) if error.is_unique_violation() => {
            Err(ConnectionError::Taken { provider: found.provider.clone(), label })
        }
        (Err(error), _) => Err(PostgresError::on("change the connection")(error).into()),
    }
}

/// Closes a connection: deletes its secrets, tokens and pending authorizations. Its devices, what is asked of them and
/// their history stay; its jobs leave the schedule through the outbox.
pub async fn close(pool: &Pool, tenant: TenantId, found: &ConnectionRef) -> Result<(), ConnectionError> {
    let mut tx = held(pool, tenant, found).await?;
    // The row of a token stays, with a greater generation: by it, a renewal that is under way is recognised as of
    // before.
    let closed = sqlx::query_scalar!(
        r#"WITH forgotten AS (
               UPDATE tokens SET sealed = NULL, generation = generation + 1, renew_at = NULL, expires_at = NULL,
                      renewing_until = NULL, failures = 0, retry_at = NULL, failure = NULL
               WHERE tenant_id = $1 AND connection_id = $2),
           asked AS (DELETE FROM authorisations WHERE tenant_id = $1 AND connection_id = $2),
           closed AS (
               UPDATE connections SET state = 'closed', state_reason = NULL, state_at = now(), secret_sealed = NULL,
                      bootstrap = '{}', bootstrap_of = NULL, bootstrap_at = NULL,
                      secrets_version = secrets_version + 1
               WHERE tenant_id = $1 AND connection_id = $2 RETURNING tenant_id, connection_id, provider),
           newer AS (
               UPDATE jobs j SET version = j.version + 1
               FROM closed c JOIN devices d USING (tenant_id, connection_id)
               WHERE j.tenant_id = d.tenant_id AND j.device_id = d.device_id RETURNING j.provider, j.job_id),
           noted AS (INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM newer),
           notified AS (SELECT pg_notify('paceline_outbox', '')::text FROM closed)
           SELECT (SELECT count(*) FROM closed) + 0 * (SELECT count(*) FROM notified) AS "closed!""#,
        tenant.0,
        found.id.0
    )
    .fetch_one(&mut tx)
    .await
    .map_err(PostgresError::on("close the connection"))?;
    match closed {
        1 => Ok(tx.commit().await.map_err(PostgresError::on("close the connection"))?),
        _ => Err(ConnectionError::Unknown(found.id.to_string())),
    }
}

/// A transaction that holds the connection, and then its tenant: whoever locks many of a tenant's jobs does so, so that
/// none of them waits for another.
async fn held(pool: &Pool, tenant: TenantId, found: &ConnectionRef) -> Result<Transaction, ConnectionError> {
    let failed = || PostgresError::on("change the connection");
    let mut tx = pool.for_long_statements().begin().await.map_err(failed())?;
    sqlx::query!(
        "SELECT connection_id FROM connections WHERE tenant_id = $1 AND connection_id = $2 FOR NO KEY UPDATE",
        tenant.0,
        found.id.0
    )
    .fetch_optional(&mut tx)
    .await
    .map_err(failed())?;
    room::hold(&mut tx, tenant).await?;
    Ok(tx)
}
