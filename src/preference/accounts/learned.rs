//! What a cloud told of an account that its calls need.

use crate::postgres::{Pool, PostgresError};
use crate::words::{Connection, UnixMs};
use std::collections::BTreeMap;

/// Keeps bootstrap values over those of before. `of`: what was asked for them; none: they correct some.
///
/// Not what was heard of a connection as it was before its secrets were renewed: it may be another account's.
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
    .map_err(PostgresError::on("keep what the cloud told of the account"))
}
