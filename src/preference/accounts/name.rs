//! What a connection is called.

use crate::postgres::{Pool, PostgresError};
use crate::words::{ConnectionId, TenantId};

/// The provider and the label of a connection; none if the tenant has none of this number.
pub async fn connection_name(
    pool: &Pool,
    tenant: TenantId,
    id: ConnectionId,
) -> Result<Option<(String, String)>, PostgresError> {
    let row = sqlx::query!(
        "SELECT provider, label FROM connections WHERE tenant_id = $1 AND connection_id = $2",
        tenant.0,
        id.0
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("find the connection"))?;
    Ok(row.map(|row| (row.provider, row.label)))
}
