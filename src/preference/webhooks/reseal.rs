//! Finds secrets of webhooks that are sealed by another key than the current one, and replaces each if it has not
//! changed since.

use crate::postgres::{Pool, PostgresError};
use crate::words::WebhookId;

/// Rows per query.
const PAGE: i64 = 200;

/// The sealed secrets of a webhook.
#[derive(Debug)]
pub struct SealedWebhook {
    /// Whose.
    pub id: WebhookId,
    /// As they were read.
    pub sealed: Vec<u8>,
}

/// Secrets of a page of webhooks after this one that do not begin with the current key's mark.
pub async fn sealed_by_other_keys(
    pool: &Pool,
    mark: &[u8],
    after: WebhookId,
) -> Result<Vec<SealedWebhook>, PostgresError> {
    let rows = sqlx::query!(
        r#"-- All tenants: a new sealing key is for everything.
           SELECT webhook_id, secrets_sealed AS "sealed!" FROM webhooks
           WHERE webhook_id > $1 AND substring(secrets_sealed FROM 1 FOR $2) <> $3
           ORDER BY webhook_id LIMIT $4"#,
        after.0,
        i32::try_from(mark.len()).unwrap_or(i32::MAX),
        mark,
        PAGE
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read what is sealed"))?;
    let sealed = |(id, sealed)| SealedWebhook { id: WebhookId(id), sealed };
    Ok(rows.into_iter().map(|row| sealed((row.webhook_id, row.sealed))).collect())
}

/// Replaces the secrets, unless they have changed since they were read. Returns whether it did.
pub async fn replace(pool: &Pool, value: &SealedWebhook, sealed: &[u8]) -> Result<bool, PostgresError> {
    let done = sqlx::query!(
        "-- All tenants: a new sealing key is for everything.
         UPDATE webhooks SET secrets_sealed = $3 WHERE webhook_id = $1 AND secrets_sealed = $2",
        value.id.0,
        value.sealed,
        sealed
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("seal again"))?;
    Ok(done.rows_affected() == 1)
}
