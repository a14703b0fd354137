//! What a cloud told of an account that its calls need.

use crate::postgres::{Pool, PostgresError};
use crate::words::{Connection, UnixMs};
use std::collections::BTreeMap;

/// Keeps bootstrap values over those of before. `whole`: they are what was asked for, not a correction of some.
///
/// Not what was heard of a connection as it was before its secrets were renewed: it may be another account's.
pub async fn learn(
    pool: &Pool,
    connection: &Connection,
    values: &BTreeMap<String, String>,
    whole: bool,
    asked_at: UnixMs,
) -> Result<(), PostgresError> {
    sqlx::query!(
        "UPDATE connections SET bootstrap = bootstrap || $3,
                bootstrap_at = CASE WHEN $4 THEN $5 ELSE bootstrap_at END
         WHERE tenant_id = $1 AND connection_id = $2 AND state_at = $6",
        connection.tenant.0,
        connection.id.0,
        serde_json::json!(values),
        whole,
        asked_at.to_datetime(),
        connection.state_at
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("keep what the cloud told of the account"))
}
