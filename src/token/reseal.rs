//! Finds values that are sealed by another key than the current one, and replaces each if it has not changed since.

use crate::postgres::{Pool, PostgresError};
use crate::seal::SealContext;
use crate::words::ConnectionId;

/// Rows per query.
const PAGE: i64 = 200;

/// A sealed value.
#[derive(Debug)]
pub struct SealedValue {
    /// Which value it is.
    pub context: SealContext,
    /// As it was read.
    pub sealed: Vec<u8>,
}

/// Values of a page of connections after this one that do not begin with the current key's mark; and the last
/// connection of the page, none at the end.
pub async fn sealed_by_other_keys(
    pool: &Pool,
    mark: &[u8],
    after: ConnectionId,
) -> Result<(Vec<SealedValue>, Option<ConnectionId>), PostgresError> {
    let rows = sqlx::query!(
        r#"-- All tenants: a new sealing key is for everything.
           WITH page AS MATERIALIZED (
               SELECT tenant_id, connection_id, secret_sealed FROM connections
               WHERE connection_id > $1 ORDER BY connection_id LIMIT $2)
           SELECT p.connection_id, p.secret_sealed AS secrets, t.sealed AS "token?", a.sealed AS "way?"
           FROM page p LEFT JOIN tokens t USING (tenant_id, connection_id)
           LEFT JOIN authorisations a USING (tenant_id, connection_id) ORDER BY p.connection_id"#,
        after.0,
        PAGE
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read what is sealed"))?;
    let last = rows.last().map(|row| ConnectionId(row.connection_id));
    let mut found = Vec::new();
    for row in rows {
        let id = ConnectionId(row.connection_id);
        let all = [
            (SealContext::Secrets(id), row.secrets),
            (SealContext::Token(id), row.token),
            (SealContext::Authorisation(id), row.way),
        ];
        let other = |sealed: &Vec<u8>| !sealed.starts_with(mark);
        found
            .extend(all.into_iter().filter_map(|(context, sealed)| {
                Some(SealedValue { context, sealed: sealed.filter(other)? })
            }));
    }
    Ok((found, last))
}

/// Replaces a value, unless it has changed since it was read. Returns whether it did.
pub async fn replace(pool: &Pool, value: &SealedValue, sealed: &[u8]) -> Result<bool, PostgresError> {
    let failed = || PostgresError::on("seal again");
    let old = value.sealed.as_slice();
    let done = match value.context {
        SealContext::Secrets(ConnectionId(id)) => {
            sqlx::query!(
                "-- All tenants: a new sealing key is for everything.
                 UPDATE connections SET secret_sealed = $3 WHERE connection_id = $1 AND secret_sealed = $2",
                id,
                old,
                sealed
            )
            .execute(pool)
            .await
        }
        SealContext::Token(ConnectionId(id)) => {
            sqlx::query!(
                "-- All tenants: a new sealing key is for everything.
                     UPDATE tokens SET sealed = $3 WHERE connection_id = $1 AND sealed = $2",
                id,
                old,
                sealed
            )
            .execute(pool)
            .await
        }
        SealContext::Authorisation(ConnectionId(id)) => {
            sqlx::query!(
                "-- All tenants: a new sealing key is for everything.
                     UPDATE authorisations SET sealed = $3 WHERE connection_id = $1 AND sealed = $2",
                id,
                old,
                sealed
            )
            .execute(pool)
            .await
        }
    };
    done.map(|done| done.rows_affected() == 1).map_err(failed())
}
