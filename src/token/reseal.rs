//! What is sealed by another key than the current one, and its replacing: a row at a time, while it is as it was read.

use crate::postgres::{Pool, PostgresError};
use crate::seal::SealContext;
use crate::words::ConnectionId;

/// Rows that are read at once.
const PAGE: i64 = 200;

/// Something sealed, and where it lies.
#[derive(Debug)]
pub struct Lying {
    /// What it is.
    pub place: SealContext,
    /// As it lies there.
    pub sealed: Vec<u8>,
}

/// Some of what does not begin with this mark, of connections after this one; and the last connection that was looked
/// at, none at the end.
pub async fn others(
    pool: &Pool,
    mark: &[u8],
    after: ConnectionId,
) -> Result<(Vec<Lying>, Option<ConnectionId>), PostgresError> {
    let rows = sqlx::query!(
        r#"WITH page AS MATERIALIZED (
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
        found.extend(
            all.into_iter()
                .filter_map(|(place, sealed)| Some(Lying { place, sealed: sealed.filter(other)? })),
        );
    }
    Ok((found, last))
}

/// Puts this in its place; not if it has changed since it was read.
pub async fn replace(pool: &Pool, lying: &Lying, sealed: &[u8]) -> Result<bool, PostgresError> {
    let failed = || PostgresError::on("seal again");
    let old = lying.sealed.as_slice();
    let done =
        match lying.place {
            SealContext::Secrets(ConnectionId(id)) => sqlx::query!(
                "UPDATE connections SET secret_sealed = $3 WHERE connection_id = $1 AND secret_sealed = $2",
                id,
                old,
                sealed
            )
            .execute(pool)
            .await,
            SealContext::Token(ConnectionId(id)) => {
                sqlx::query!(
                    "UPDATE tokens SET sealed = $3 WHERE connection_id = $1 AND sealed = $2",
                    id,
                    old,
                    sealed
                )
                .execute(pool)
                .await
            }
            SealContext::Authorisation(ConnectionId(id)) => {
                sqlx::query!(
                    "UPDATE authorisations SET sealed = $3 WHERE connection_id = $1 AND sealed = $2",
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
