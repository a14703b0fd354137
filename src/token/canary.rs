//! The canary: a known text that the first process sealed. Who cannot open it has the wrong sealing key, and would
//! seal new secrets that the other processes cannot open.

use crate::postgres::{Pool, PostgresError};
use crate::seal::{SealError, Sealer};
use crate::words::ConnectionId;

/// How many secrets are tried in a database from before there was a canary: one may be spoilt.
const TRIED: i64 = 20;

/// Why a process must not seal anything.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// None of the keys sealed what is stored.
    #[error(
        "the sealing key is not the one that sealed the secrets in this database: set secret.key (or \
         secret.key_file) to that key, or add it to secret.former_keys; nothing was changed"
    )]
    WrongKey,
    /// The canary could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// Opens the canary with the current or a former key; if there is none yet, seals it.
pub async fn check_canary(pool: &Pool, sealer: &Sealer) -> Result<(), CanaryError> {
    if read(pool).await?.is_none() {
        check_secrets(pool, sealer).await?;
        let sealed = sealer.seal_canary()?;
        sqlx::query!("INSERT INTO sealing_canary (sealed) VALUES ($1) ON CONFLICT DO NOTHING", sealed)
            .execute(pool)
            .await
            .map_err(PostgresError::on("store the sealing canary"))?;
    }
    // Read again, because another process with another key may have been faster.
    match read(pool).await? {
        Some(sealed) if !sealer.opens_canary(&sealed) => Err(CanaryError::WrongKey),
        _ => Ok(()),
    }
}

/// Seals the canary with the current key, if another sealed it.
pub async fn reseal_canary(pool: &Pool, sealer: &Sealer) -> Result<(), CanaryError> {
    check_canary(pool, sealer).await?;
    let sealed = sealer.seal_canary()?;
    sqlx::query!("UPDATE sealing_canary SET sealed = $1", sealed)
        .execute(pool)
        .await
        .map(drop)
        .map_err(|error| PostgresError::on("store the sealing canary")(error).into())
}

async fn read(pool: &Pool) -> Result<Option<Vec<u8>>, PostgresError> {
    sqlx::query_scalar!("SELECT sealed FROM sealing_canary")
        .fetch_optional(pool)
        .await
        .map_err(PostgresError::on("read the sealing canary"))
}

/// A database from before there was a canary may hold secrets: the first canary must not be sealed by a wrong key.
async fn check_secrets(pool: &Pool, sealer: &Sealer) -> Result<(), CanaryError> {
    let rows = sqlx::query!(
        r#"-- All tenants: one sealing key is for everything.
           SELECT connection_id, secret_sealed AS "sealed!" FROM connections
           WHERE secret_sealed IS NOT NULL ORDER BY connection_id DESC LIMIT $1"#,
        TRIED
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read sealed secrets"))?;
    let mut opened =
        rows.iter().map(|row| sealer.open_secrets(ConnectionId(row.connection_id), &row.sealed).is_ok());
    match rows.is_empty() || opened.any(|is_open| is_open) {
        true => Ok(()),
        false => Err(CanaryError::WrongKey),
    }
}
