//! How many connections, devices and webhooks a tenant has, held still while some are added.

use crate::postgres::{PostgresError, Transaction};
use crate::words::TenantId;

/// Has additions to a tenant wait for each other until the transaction ends: two at once would each find room for one.
pub async fn hold(tx: &mut Transaction, tenant: TenantId) -> Result<(), PostgresError> {
    sqlx::query!("SELECT 1 AS held FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant.0)
        .fetch_optional(tx)
        .await
        .map(drop)
        .map_err(PostgresError::on("count what the tenant has"))
}

/// The number of a tenant's connections.
pub async fn connections(tx: &mut Transaction, tenant: TenantId) -> Result<u64, PostgresError> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM connections WHERE tenant_id = $1"#, tenant.0)
        .fetch_one(tx)
        .await
        .map(i64::unsigned_abs)
        .map_err(PostgresError::on("count the tenant's connections"))
}

/// The number of a tenant's devices.
pub async fn devices(tx: &mut Transaction, tenant: TenantId) -> Result<u64, PostgresError> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM devices WHERE tenant_id = $1"#, tenant.0)
        .fetch_one(tx)
        .await
        .map(i64::unsigned_abs)
        .map_err(PostgresError::on("count the tenant's devices"))
}

/// The number of a tenant's webhooks.
pub async fn webhooks(tx: &mut Transaction, tenant: TenantId) -> Result<u64, PostgresError> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM webhooks WHERE tenant_id = $1"#, tenant.0)
        .fetch_one(tx)
        .await
        .map(i64::unsigned_abs)
        .map_err(PostgresError::on("count the tenant's webhooks"))
}
