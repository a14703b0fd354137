//! Bootstrap values: what a provider reported of an account that calls need.

use crate::postgres::{Pool, PostgresError};
use crate::words::{Connection, UnixMs};
use std::collections::BTreeMap;

/// Stores bootstrap values over earlier ones. `of`: the request that returned them; none if they are corrections.
///
/// Values fetched before the connection's secrets were renewed are not stored: they may belong to another account.
pub async fn learn(
    pool: &Pool,
    connection: &Connection,
    values: &BTreeMap<String, String>,
    of: Option<&str>,
    asked_at: UnixMs,
) -> Result<(), PostgresError> {
    sqlx::query!(
        "UPDATE connections SET bootstrap = bootstrap || $3, bootstrap_of = COALESCE($4, bootstrap_of),
                bootstrap_at = CASE WHEN $4::text IS NULL THEN bootstrap_at ELSE $5 END
         WHERE tenant_id = $1 AND connection_id = $2 AND secrets_version = $6",
        connection.tenant.0,
        connection.id.0,
        serde_json::json!(values),
        of,
        asked_at.to_datetime(),
        connection.secrets_version
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("store the bootstrap values"))
}
