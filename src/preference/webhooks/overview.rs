//! All webhooks, for operators.

use crate::postgres::{Pool, PostgresError};
use crate::words::{TenantId, UnixMs};
use serde::Serialize;

/// A webhook in the operator's list. Its address is left out: it may contain a key.
#[derive(Debug, Clone, Serialize)]
pub struct TenantWebhook {
    /// Its number.
    pub id: i64,
    /// Its tenant's name.
    pub tenant: String,
    /// What the tenant calls it; may be empty.
    pub label: String,
    /// `delivering`, `failing` or `disabled`.
    pub state: &'static str,
    /// Since when, if it does not deliver.
    pub since: Option<String>,
    /// Why not.
    pub reason: Option<String>,
}

/// The webhooks of a tenant, or of all.
pub async fn of_tenants(pool: &Pool, tenant: Option<TenantId>) -> Result<Vec<TenantWebhook>, PostgresError> {
    let rows = sqlx::query!(
        "-- All tenants: the operator's list.
         SELECT w.webhook_id, t.name, w.label, w.failing_since, w.last_error, w.disabled_at, w.disabled_reason
         FROM webhooks w JOIN tenants t USING (tenant_id)
         WHERE $1::bigint IS NULL OR tenant_id = $1 ORDER BY t.name, w.webhook_id",
        tenant.map(|tenant| tenant.0)
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("list the webhooks"))?;
    let row = rows.into_iter().map(|row| {
        let (state, since, reason) = match (row.disabled_at, row.failing_since) {
            (Some(at), _) => ("disabled", Some(at), row.disabled_reason),
            (None, Some(at)) => ("failing", Some(at), row.last_error),
            (None, None) => ("delivering", None, None),
        };
        let since = since.map(|at| UnixMs::from(at).to_string());
        TenantWebhook { id: row.webhook_id, tenant: row.name, label: row.label, state, since, reason }
    });
    Ok(row.collect())
}
