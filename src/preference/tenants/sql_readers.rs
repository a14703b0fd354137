//! Logins of Postgres that see one tenant's views and nothing else.

use crate::postgres::{Pool, PostgresError};
use crate::seal::{SealError, random};
use crate::words::TenantId;
use crate::words::text::excerpt;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// An error of creating, listing or dropping a reader.
#[derive(Debug, thiserror::Error)]
pub enum SqlReaderError {
    /// Not a name.
    #[error(
        "{:?} is not a name for a login: use 1 to 63 lower-case letters, digits or '_', starting with a letter, but \
         not with \"pg_\"",
        excerpt(.0)
    )]
    BadName(String),
    /// There is such a role.
    #[error("there is a login {0} on this server, or was one in this database; choose another name")]
    Taken(String),
    /// There is no such reader of the tenant.
    #[error("tenant has no login {0}; `paceline sql-reader list` shows them")]
    Unknown(String),
    /// We may not.
    #[error(
        "the login of database.url may not create roles; have an administrator run, with a password of their own: \
         CREATE ROLE {name} LOGIN PASSWORD '…'; and INSERT INTO sql_readers (role_name, tenant_id) VALUES \
         ('{name}', {tenant});"
    )]
    Forbidden {
        /// The login.
        name: String,
        /// The tenant.
        tenant: TenantId,
    },
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] SealError),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// A reader in a list.
#[derive(Debug, Clone, Serialize)]
pub struct SqlReaderRow {
    /// The login.
    pub name: String,
    /// When it was created.
    pub created_at: String,
}

/// Connections that one reader may have at once.
const CONNECTIONS_MAX: u32 = 10;

/// Creates a login that sees only the tenant's views, and returns its password. It cannot be shown again.
pub async fn create(pool: &Pool, tenant: TenantId, name: &str) -> Result<SecretString, SqlReaderError> {
    check(name)?;
    let failed = || PostgresError::on("create the login");
    let password = URL_SAFE_NO_PAD.encode(random::<24>()?);
    let verifier = scram_verifier(&password, random::<16>()?);
    // Letters, digits and `_`; letters, digits and `+/=$:-`: nothing to escape. Postgres logs failing statements, so
    // the password is not in it.
    let create = format!(
        "CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT \
         CONNECTION LIMIT {CONNECTIONS_MAX} PASSWORD '{verifier}';
         ALTER ROLE {name} SET default_transaction_read_only = on;
         ALTER ROLE {name} SET statement_timeout = '30s';
         ALTER ROLE {name} SET search_path = dashboard"
    );
    let mut transaction = pool.begin().await.map_err(failed())?;
    let inserted = sqlx::query!(
        "INSERT INTO sql_readers (tenant_id, role_name) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        tenant.0,
        name
    )
    .execute(&mut transaction)
    .await
    .map_err(failed())?;
    // Its row may be there without the role, and be another tenant's.
    if inserted.rows_affected() == 0 {
        return Err(SqlReaderError::Taken(name.to_owned()));
    }
    for statement in create.split(';') {
        let done = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut transaction).await;
        done.map_err(|error| refusal(error, name, tenant))?;
    }
    transaction.commit().await.map_err(failed())?;
    Ok(password.into())
}

/// The tenant's readers.
pub async fn list(pool: &Pool, tenant: TenantId) -> Result<Vec<SqlReaderRow>, SqlReaderError> {
    let rows = sqlx::query!(
        "SELECT role_name, created_at FROM sql_readers WHERE tenant_id = $1 ORDER BY role_name",
        tenant.0
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("list the logins"))?;
    let row = |(name, at): (String, chrono::DateTime<chrono::Utc>)| SqlReaderRow {
        name,
        created_at: crate::words::UnixMs::from(at).to_string(),
    };
    Ok(rows.into_iter().map(|found| row((found.role_name, found.created_at))).collect())
}

/// Drops a login of the tenant. Its sessions see nothing from now on.
pub async fn drop(pool: &Pool, tenant: TenantId, name: &str) -> Result<(), SqlReaderError> {
    check(name)?;
    let failed = || PostgresError::on("drop the login");
    let mut transaction = pool.begin().await.map_err(failed())?;
    let removed =
        sqlx::query!("DELETE FROM sql_readers WHERE tenant_id = $1 AND role_name = $2", tenant.0, name)
            .execute(&mut transaction)
            .await
            .map_err(failed())?;
    if removed.rows_affected() == 0 {
        return Err(SqlReaderError::Unknown(name.to_owned()));
    }
    let is_there = sqlx::query_scalar!(r#"SELECT to_regrole($1) IS NOT NULL AS "is_there!""#, name)
        .fetch_one(&mut transaction)
        .await
        .map_err(failed())?;
    // A session of it may have temporary objects, which are dropped by those who may act as it.
    let drop = format!("GRANT {name} TO CURRENT_USER; DROP OWNED BY {name}; DROP ROLE {name}");
    for statement in drop.split("; ").filter(|_| is_there) {
        let done = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut transaction).await;
        done.map_err(|error| refusal(error, name, tenant))?;
    }
    Ok(transaction.commit().await.map_err(failed())?)
}

fn check(name: &str) -> Result<(), SqlReaderError> {
    let is_name = (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !name.starts_with("pg_");
    if is_name { Ok(()) } else { Err(SqlReaderError::BadName(name.to_owned())) }
}

fn refusal(error: sqlx::Error, name: &str, tenant: TenantId) -> SqlReaderError {
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    match code.as_deref() {
        Some("42710") => SqlReaderError::Taken(name.to_owned()),
        Some("42501") => SqlReaderError::Forbidden { name: name.to_owned(), tenant },
        _ => PostgresError::on("change the login")(error).into(),
    }
}

const ITERATIONS: u32 = 4_096;

/// What Postgres stores of a password (RFC 5803).
fn scram_verifier(password: &str, salt: [u8; 16]) -> String {
    let mut block = hmac(password.as_bytes(), &[&salt[..], &1_u32.to_be_bytes()].concat());
    let mut salted = block;
    for _ in 1..ITERATIONS {
        block = hmac(password.as_bytes(), &block);
        salted.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    let stored = Sha256::digest(hmac(&salted, b"Client Key"));
    let server = hmac(&salted, b"Server Key");
    let [salt, stored, server] = [&salt[..], &stored[..], &server[..]].map(|bytes| STANDARD.encode(bytes));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // An HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}
