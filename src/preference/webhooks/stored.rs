//! What a tenant sets of its webhooks. A change that a delivery under way must not overwrite ends that delivery's
//! claim.

use super::WebhookStoreError;
use crate::postgres::{Pool, PostgresError};
use crate::preference::tenants::room;
use crate::seal::{SealError, Sealer};
use crate::words::{SigningSecrets, TenantId, UnixMs, WebhookId};
use chrono::{DateTime, Utc};
use secrecy::SecretString;

/// Which changes are posted: those that are all of this. None: any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookFilter {
    /// Of these devices.
    pub devices: Option<Vec<i64>>,
    /// At this provider.
    pub provider: Option<String>,
    /// Under this connection.
    pub connection: Option<i64>,
    /// Of this home or site.
    pub group: Option<String>,
}

/// A webhook to be added.
#[derive(Debug)]
pub struct NewWebhook {
    /// Its name; may be empty.
    pub label: String,
    /// Where changes are posted.
    pub url: String,
    /// Which.
    pub filter: WebhookFilter,
    /// The change after which it begins; none: the newest when it is first looked at.
    pub cursor: Option<String>,
}

/// What to change of a webhook. What is none stays as it is.
#[derive(Debug, Default)]
pub struct WebhookChange {
    /// Its name.
    pub label: Option<String>,
    /// Where changes are posted.
    pub url: Option<String>,
    /// Which.
    pub filter: Option<WebhookFilter>,
    /// Whether it is enabled. If it is, a delivery that failed is tried at once.
    pub enabled: Option<bool>,
}

/// A webhook, without its secrets.
#[derive(Debug, Clone)]
pub struct StoredWebhook {
    /// Its number.
    pub id: WebhookId,
    /// Its name; may be empty.
    pub label: String,
    /// Where changes are posted.
    pub url: String,
    /// Which.
    pub filter: WebhookFilter,
    /// When it was added.
    pub created_at: UnixMs,
    /// The last change that was delivered.
    pub cursor: Option<String>,
    /// Attempts that failed in a row.
    pub attempts: u32,
    /// Since when none succeeded.
    pub failing_since: Option<UnixMs>,
    /// When the next attempt is made, if the last failed.
    pub next_try_at: Option<UnixMs>,
    /// The status of the last response.
    pub last_status: Option<u16>,
    /// Why the last attempt failed; none if it did not.
    pub last_error: Option<String>,
    /// When something was last delivered.
    pub delivered_at: Option<UnixMs>,
    /// Since when it is disabled, if it is.
    pub disabled_at: Option<UnixMs>,
    /// Why.
    pub disabled_reason: Option<String>,
}

/// The reason of a webhook that its tenant disabled.
const BY_OWNER: &str = "it was disabled by request";

/// Adds a webhook with its secret, unless the tenant has `max` already. Returns its number.
pub async fn add(
    pool: &Pool,
    sealer: &Sealer,
    tenant: TenantId,
    new: NewWebhook,
    secret: &SecretString,
    now: UnixMs,
    max: u32,
) -> Result<WebhookId, WebhookStoreError> {
    let failed = || PostgresError::on("add the webhook");
    let mut tx = pool.begin().await.map_err(failed())?;
    room::hold(&mut tx, tenant).await?;
    if room::webhooks(&mut tx, tenant).await? >= u64::from(max) {
        return Err(WebhookStoreError::TooMany { max });
    }
    let id = sqlx::query_scalar!(
        "INSERT INTO webhooks (tenant_id, label, url, created_at, cursor, device_ids, provider, connection_id,
                               group_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING webhook_id",
        tenant.0,
        new.label,
        new.url,
        now.to_datetime(),
        new.cursor,
        new.filter.devices.as_deref(),
        new.filter.provider,
        new.filter.connection,
        new.filter.group
    )
    .fetch_one(&mut tx)
    .await
    .map_err(failed())?;
    let id = WebhookId(id);
    let sealed = sealer.seal_signing(id, &SigningSecrets::only(secret.clone()))?;
    store_secrets(&mut tx, tenant, id, &sealed).await?;
    tx.commit().await.map_err(failed())?;
    Ok(id)
}

async fn store_secrets(
    tx: &mut crate::postgres::Transaction,
    tenant: TenantId,
    id: WebhookId,
    sealed: &[u8],
) -> Result<(), PostgresError> {
    sqlx::query!(
        "UPDATE webhooks SET secrets_sealed = $3 WHERE tenant_id = $1 AND webhook_id = $2",
        tenant.0,
        id.0,
        sealed
    )
    .execute(tx)
    .await
    .map(drop)
    .map_err(PostgresError::on("store the webhook's secret"))
}

/// A tenant's webhooks, oldest first.
pub async fn list(pool: &Pool, tenant: TenantId) -> Result<Vec<StoredWebhook>, PostgresError> {
    read(pool, tenant, None).await
}

/// A tenant's webhook.
pub async fn find(pool: &Pool, tenant: TenantId, id: WebhookId) -> Result<StoredWebhook, WebhookStoreError> {
    read(pool, tenant, Some(id)).await?.pop().ok_or(WebhookStoreError::Unknown(id))
}

async fn read(
    pool: &Pool,
    tenant: TenantId,
    id: Option<WebhookId>,
) -> Result<Vec<StoredWebhook>, PostgresError> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT webhook_id, label, url, device_ids, provider, connection_id, group_key, created_at, cursor, attempts,
                failing_since, next_try_at, last_status, last_error, delivered_at, disabled_at, disabled_reason
         FROM webhooks WHERE tenant_id = $1 AND ($2::bigint IS NULL OR webhook_id = $2) ORDER BY webhook_id",
        tenant.0,
        id.map(|id| id.0)
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the webhooks"))?;
    Ok(rows.into_iter().map(StoredWebhook::from).collect())
}

/// Removes a webhook; a delivery under way writes nothing more.
pub async fn remove(pool: &Pool, tenant: TenantId, id: WebhookId) -> Result<(), WebhookStoreError> {
    let done = sqlx::query!("DELETE FROM webhooks WHERE tenant_id = $1 AND webhook_id = $2", tenant.0, id.0)
        .execute(pool)
        .await
        .map_err(PostgresError::on("remove the webhook"))?;
    if done.rows_affected() == 0 { Err(WebhookStoreError::Unknown(id)) } else { Ok(()) }
}

/// Changes a webhook. The batch that was being delivered is composed anew: it may be of other changes now.
pub async fn change(
    pool: &Pool,
    tenant: TenantId,
    id: WebhookId,
    change: WebhookChange,
    now: UnixMs,
) -> Result<(), WebhookStoreError> {
    let filter = change.filter.as_ref();
    let done = sqlx::query!(
        "UPDATE webhooks SET
             label = coalesce($3, label), url = coalesce($4, url),
             device_ids = CASE WHEN $5 THEN $6 ELSE device_ids END,
             provider = CASE WHEN $5 THEN $7 ELSE provider END,
             connection_id = CASE WHEN $5 THEN $8 ELSE connection_id END,
             group_key = CASE WHEN $5 THEN $9 ELSE group_key END,
             batch_until = CASE WHEN $5 THEN NULL ELSE batch_until END,
             disabled_at = CASE WHEN $10 THEN NULL WHEN NOT $10 THEN coalesce(disabled_at, $11) ELSE disabled_at END,
             disabled_reason = CASE WHEN $10 THEN NULL WHEN NOT $10 THEN coalesce(disabled_reason, $12)
                                    ELSE disabled_reason END,
             failing_since = CASE WHEN $10 THEN NULL ELSE failing_since END,
             next_try_at = CASE WHEN $10 THEN NULL ELSE next_try_at END,
             attempts = CASE WHEN $10 THEN 0 ELSE attempts END,
             claim = claim + 1, claimed_until = NULL
         WHERE tenant_id = $1 AND webhook_id = $2",
        tenant.0,
        id.0,
        change.label,
        change.url,
        filter.is_some(),
        filter.and_then(|filter| filter.devices.as_deref()),
        filter.and_then(|filter| filter.provider.as_deref()),
        filter.and_then(|filter| filter.connection),
        filter.and_then(|filter| filter.group.as_deref()),
        change.enabled,
        now.to_datetime(),
        BY_OWNER
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("change the webhook"))?;
    if done.rows_affected() == 0 { Err(WebhookStoreError::Unknown(id)) } else { Ok(()) }
}

/// Sets a webhook back to the time after a change, and tries at once.
pub async fn rewind(
    pool: &Pool,
    tenant: TenantId,
    id: WebhookId,
    cursor: &str,
) -> Result<(), WebhookStoreError> {
    let done = sqlx::query!(
        "UPDATE webhooks SET cursor = $3, batch_until = NULL, next_try_at = NULL, claim = claim + 1,
                claimed_until = NULL
         WHERE tenant_id = $1 AND webhook_id = $2",
        tenant.0,
        id.0,
        cursor
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("set the webhook back"))?;
    if done.rows_affected() == 0 { Err(WebhookStoreError::Unknown(id)) } else { Ok(()) }
}

/// The secrets that sign a webhook's deliveries.
pub async fn secrets(
    pool: &Pool,
    sealer: &Sealer,
    tenant: TenantId,
    id: WebhookId,
) -> Result<SigningSecrets, WebhookStoreError> {
    let sealed = sqlx::query_scalar!(
        "SELECT secrets_sealed FROM webhooks WHERE tenant_id = $1 AND webhook_id = $2",
        tenant.0,
        id.0
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("read the webhook's secret"))?;
    let sealed = sealed.ok_or(WebhookStoreError::Unknown(id))?;
    Ok(sealer.open_signing(id, &sealed.ok_or(SealError::UnopenableWebhook(id))?)?)
}

/// Signs with `next` from now on; with the secret before it until an instant, too.
pub async fn rotate(
    pool: &Pool,
    sealer: &Sealer,
    tenant: TenantId,
    id: WebhookId,
    next: &SecretString,
    (now, until): (UnixMs, UnixMs),
) -> Result<(), WebhookStoreError> {
    let failed = || PostgresError::on("rotate the webhook's secret");
    let mut tx = pool.begin().await.map_err(failed())?;
    let sealed = sqlx::query_scalar!(
        "SELECT secrets_sealed FROM webhooks WHERE tenant_id = $1 AND webhook_id = $2 FOR NO KEY UPDATE",
        tenant.0,
        id.0
    )
    .fetch_optional(&mut tx)
    .await
    .map_err(failed())?;
    let sealed = sealed.ok_or(WebhookStoreError::Unknown(id))?;
    // One that no key opens signs nothing any more: a new one replaces it.
    let rotated = match sealed.map(|sealed| sealer.open_signing(id, &sealed)) {
        Some(Ok(secrets)) => secrets.rotated(next.clone(), now, until),
        Some(Err(_)) | None => SigningSecrets::only(next.clone()),
    };
    store_secrets(&mut tx, tenant, id, &sealer.seal_signing(id, &rotated)?).await?;
    tx.commit().await.map_err(failed())?;
    Ok(())
}

struct Row {
    webhook_id: i64,
    label: String,
    url: String,
    device_ids: Option<Vec<i64>>,
    provider: Option<String>,
    connection_id: Option<i64>,
    group_key: Option<String>,
    created_at: DateTime<Utc>,
    cursor: Option<String>,
    attempts: i32,
    failing_since: Option<DateTime<Utc>>,
    next_try_at: Option<DateTime<Utc>>,
    last_status: Option<i32>,
    last_error: Option<String>,
    delivered_at: Option<DateTime<Utc>>,
    disabled_at: Option<DateTime<Utc>>,
    disabled_reason: Option<String>,
}

impl From<Row> for StoredWebhook {
    fn from(row: Row) -> Self {
        Self {
            id: WebhookId(row.webhook_id),
            label: row.label,
            url: row.url,
            filter: WebhookFilter {
                devices: row.device_ids,
                provider: row.provider,
                connection: row.connection_id,
                group: row.group_key,
            },
            created_at: row.created_at.into(),
            cursor: row.cursor,
            attempts: row.attempts.unsigned_abs(),
            failing_since: row.failing_since.map(UnixMs::from),
            next_try_at: row.next_try_at.map(UnixMs::from),
            last_status: row.last_status.and_then(|status| status.try_into().ok()),
            last_error: row.last_error,
            delivered_at: row.delivered_at.map(UnixMs::from),
            disabled_at: row.disabled_at.map(UnixMs::from),
            disabled_reason: row.disabled_reason,
        }
    }
}
