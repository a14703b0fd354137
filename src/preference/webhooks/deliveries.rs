//! Who delivers to a webhook, and how far that is. A claim is a number and a time in the webhook's row, so that nothing
//! is held while a receiver is called; one that a dead process held expires. The number fences what its holder writes.

use super::WebhookFilter;
use crate::postgres::{Pool, PostgresError};
use crate::words::{TenantId, UnixMs, WebhookId};
use chrono::{DateTime, Utc};

/// A webhook that is enabled, and whether it may be due.
#[derive(Debug, Clone)]
pub struct EnabledWebhook {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its number.
    pub id: WebhookId,
    /// The last change that was delivered.
    pub cursor: Option<String>,
    /// Whether the last attempt failed.
    pub failing: bool,
    /// When the next attempt may be made, if the last failed.
    pub next_try_at: Option<UnixMs>,
    /// Until when another process has it.
    pub claimed_until: Option<UnixMs>,
}

/// A webhook that this process delivers to.
#[derive(Debug)]
pub struct Claimed {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its number.
    pub id: WebhookId,
    /// The fence.
    number: i64,
    /// Where changes are posted.
    pub url: String,
    /// Its sealed secrets.
    pub secrets_sealed: Option<Vec<u8>>,
    /// Which changes are posted.
    pub filter: WebhookFilter,
    /// The last change that was delivered.
    pub cursor: Option<String>,
    /// The number of the last batch.
    pub batch: i64,
    /// The batch of that number, if it is not delivered yet.
    pub pending: Option<Pending>,
    /// Attempts that failed in a row.
    pub attempts: u32,
    /// Since when none succeeded.
    pub failing_since: Option<UnixMs>,
}

/// A batch that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its last change.
    pub until: String,
    /// Whether it says that changes were missed.
    pub resync: bool,
}

/// An attempt that failed.
#[derive(Debug)]
pub struct Failure<'a> {
    /// How many in a row, with this one.
    pub attempts: u32,
    /// Since when.
    pub since: UnixMs,
    /// The response's status, if there was one.
    pub status: Option<u16>,
    /// Why.
    pub error: &'a str,
}

/// The webhooks that are enabled.
pub async fn enabled(pool: &Pool) -> Result<Vec<EnabledWebhook>, PostgresError> {
    let rows = sqlx::query!(
        r#"-- All tenants: a keeper delivers to any.
           SELECT tenant_id, webhook_id, cursor, attempts > 0 AS "failing!", next_try_at, claimed_until
           FROM webhooks WHERE disabled_at IS NULL"#
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read which webhooks there are"))?;
    let webhook = rows.into_iter().map(|row| EnabledWebhook {
        tenant: TenantId(row.tenant_id),
        id: WebhookId(row.webhook_id),
        cursor: row.cursor,
        failing: row.failing,
        next_try_at: row.next_try_at.map(UnixMs::from),
        claimed_until: row.claimed_until.map(UnixMs::from),
    });
    Ok(webhook.collect())
}

/// Claims a webhook until an instant. None: it is disabled, not due, or another process has it.
pub async fn claim(
    pool: &Pool,
    tenant: TenantId,
    id: WebhookId,
    now: UnixMs,
    until: UnixMs,
) -> Result<Option<Claimed>, PostgresError> {
    let row = sqlx::query_as!(
        Row,
        "WITH due AS (
             SELECT tenant_id, webhook_id FROM webhooks
             WHERE tenant_id = $1 AND webhook_id = $2 AND disabled_at IS NULL
               AND (claimed_until IS NULL OR claimed_until <= $3) AND (next_try_at IS NULL OR next_try_at <= $3)
             FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE webhooks w SET claim = w.claim + 1, claimed_until = $4
         FROM due WHERE (w.tenant_id, w.webhook_id) = (due.tenant_id, due.webhook_id)
         RETURNING w.claim, w.url, w.secrets_sealed, w.device_ids, w.provider, w.connection_id, w.group_key, w.cursor,
                   w.batch, w.batch_until, w.batch_resync, w.attempts, w.failing_since",
        tenant.0,
        id.0,
        now.to_datetime(),
        until.to_datetime()
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("claim the webhook"))?;
    Ok(row.map(|row| row.claimed(tenant, id)))
}

/// Notes which batch is sent next, and keeps the claim until an instant. False: the claim was lost.
pub async fn begin(
    pool: &Pool,
    claimed: &Claimed,
    batch: i64,
    pending: &Pending,
    until: UnixMs,
) -> Result<bool, PostgresError> {
    let done = sqlx::query!(
        "UPDATE webhooks SET batch = $4, batch_until = $5, batch_resync = $6, claimed_until = $7
         WHERE tenant_id = $1 AND webhook_id = $2 AND claim = $3",
        claimed.tenant.0,
        claimed.id.0,
        claimed.number,
        batch,
        pending.until,
        pending.resync,
        until.to_datetime()
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("begin the delivery"))?;
    Ok(done.rows_affected() == 1)
}

/// Goes on after a change. `delivered`: at which instant, with which status, unless there was nothing to send. `last`:
/// this ends the claim. False: the claim was lost.
pub async fn advance(
    pool: &Pool,
    claimed: &Claimed,
    cursor: &str,
    delivered: Option<(UnixMs, u16)>,
    last: bool,
) -> Result<bool, PostgresError> {
    let done = sqlx::query!(
        "UPDATE webhooks SET cursor = $4, batch_until = NULL, attempts = 0, failing_since = NULL, next_try_at = NULL,
                last_error = NULL, last_status = coalesce($5, last_status), delivered_at = coalesce($6, delivered_at),
                claimed_until = CASE WHEN $7 THEN NULL ELSE claimed_until END
         WHERE tenant_id = $1 AND webhook_id = $2 AND claim = $3",
        claimed.tenant.0,
        claimed.id.0,
        claimed.number,
        cursor,
        delivered.map(|(_, status)| i32::from(status)),
        delivered.map(|(at, _)| at.to_datetime()),
        last
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("note the delivery"))?;
    Ok(done.rows_affected() == 1)
}

/// Notes that an attempt failed and when the next one is made, and ends the claim.
pub async fn retry(
    pool: &Pool,
    claimed: &Claimed,
    failure: &Failure<'_>,
    at: UnixMs,
) -> Result<(), PostgresError> {
    note(pool, claimed, failure, Some(at), None).await
}

/// Disables the webhook for a reason, and ends the claim.
pub async fn disable(
    pool: &Pool,
    claimed: &Claimed,
    failure: &Failure<'_>,
    at: UnixMs,
    reason: &str,
) -> Result<(), PostgresError> {
    note(pool, claimed, failure, None, Some((at, reason))).await
}

async fn note(
    pool: &Pool,
    claimed: &Claimed,
    failure: &Failure<'_>,
    next_try_at: Option<UnixMs>,
    disabled: Option<(UnixMs, &str)>,
) -> Result<(), PostgresError> {
    sqlx::query!(
        "UPDATE webhooks SET attempts = $4, failing_since = $5, last_status = $6, last_error = $7, next_try_at = $8,
                disabled_at = $9, disabled_reason = $10, claimed_until = NULL
         WHERE tenant_id = $1 AND webhook_id = $2 AND claim = $3",
        claimed.tenant.0,
        claimed.id.0,
        claimed.number,
        i32::try_from(failure.attempts).unwrap_or(i32::MAX),
        failure.since.to_datetime(),
        failure.status.map(i32::from),
        failure.error,
        next_try_at.map(UnixMs::to_datetime),
        disabled.map(|(at, _)| at.to_datetime()),
        disabled.map(|(_, reason)| reason)
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("note the failed delivery"))
}

/// Ends the claim.
pub async fn release(pool: &Pool, claimed: &Claimed) -> Result<(), PostgresError> {
    sqlx::query!(
        "UPDATE webhooks SET claimed_until = NULL WHERE tenant_id = $1 AND webhook_id = $2 AND claim = $3",
        claimed.tenant.0,
        claimed.id.0,
        claimed.number
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("end the claim of the webhook"))
}

struct Row {
    claim: i64,
    url: String,
    secrets_sealed: Option<Vec<u8>>,
    device_ids: Option<Vec<i64>>,
    provider: Option<String>,
    connection_id: Option<i64>,
    group_key: Option<String>,
    cursor: Option<String>,
    batch: i64,
    batch_until: Option<String>,
    batch_resync: bool,
    attempts: i32,
    failing_since: Option<DateTime<Utc>>,
}

impl Row {
    fn claimed(self, tenant: TenantId, id: WebhookId) -> Claimed {
        Claimed {
            tenant,
            id,
            number: self.claim,
            url: self.url,
            secrets_sealed: self.secrets_sealed,
            filter: WebhookFilter {
                devices: self.device_ids,
                provider: self.provider,
                connection: self.connection_id,
                group: self.group_key,
            },
            cursor: self.cursor,
            batch: self.batch,
            pending: self.batch_until.map(|until| Pending { until, resync: self.batch_resync }),
            attempts: self.attempts.unsigned_abs(),
            failing_since: self.failing_since.map(UnixMs::from),
        }
    }
}
