//! API keys: shown once, kept as a hash.

use crate::postgres::{Pool, PostgresError};
use crate::seal::{SealError, random};
use crate::words::{Role, TenantId};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

/// On this channel everybody hears that keys changed.
pub const CHANNEL: &str = "paceline_keys";

/// Whom a key speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// Whose data it may see.
    pub tenant: TenantId,
    /// What it may do.
    pub role: Role,
}

/// A key in a list: never the key itself.
#[derive(Debug, Clone, serde::Serialize)]
pub struct KeyRow {
    /// Its number, for `paceline key revoke`.
    pub id: i64,
    /// Its first characters.
    pub hint: String,
    /// What it may do.
    pub role: String,
    /// What its owner called it.
    pub label: String,
    /// When it was made.
    pub created_at: String,
    /// When it was revoked, if it was.
    pub revoked_at: Option<String>,
}

/// Why no key could be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No randomness.
    #[error(transparent)]
    Random(#[from] SealError),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// No such key of this tenant.
    #[error("tenant {tenant} has no unrevoked key number {id}; `paceline key list` shows them")]
    Unknown {
        /// The tenant.
        tenant: TenantId,
        /// The number asked for.
        id: i64,
    },
}

/// The hash a key is found by. The key holds 256 random bits, so that a fast hash is as good as a slow one.
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Makes a key and returns it with its number. It cannot be shown again.
pub async fn create(pool: &Pool, who: Principal, label: &str) -> Result<(i64, SecretString), KeyError> {
    let key = format!("pl_{}_{}", who.role, URL_SAFE_NO_PAD.encode(random::<32>()?));
    let hint: String = key.chars().take(who.role.as_str().len() + 8).collect();
    let hashed = hash(&key);
    let id = sqlx::query_scalar!(
        "INSERT INTO api_keys (tenant_id, key_hash, hint, role, label) VALUES ($1, $2, $3, $4, $5) RETURNING key_id",
        who.tenant.0,
        hashed.as_slice(),
        hint,
        who.role.as_str(),
        label
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("make the key"))?;
    Ok((id, key.into()))
}

/// Revokes a key, everywhere at once.
pub async fn revoke(pool: &Pool, tenant: TenantId, id: i64) -> Result<(), KeyError> {
    let done = sqlx::query!(
        "WITH gone AS (UPDATE api_keys SET revoked_at = now()
                       WHERE tenant_id = $1 AND key_id = $2 AND revoked_at IS NULL RETURNING key_id)
         SELECT pg_notify($3, key_id::text) FROM gone",
        tenant.0,
        id,
        CHANNEL
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("revoke the key"))?;
    done.map(drop).ok_or(KeyError::Unknown { tenant, id })
}

/// A tenant's keys, oldest first.
pub async fn list(pool: &Pool, tenant: TenantId) -> Result<Vec<KeyRow>, PostgresError> {
    let rows = sqlx::query!(
        "SELECT key_id, hint, role, label, created_at, revoked_at FROM api_keys WHERE tenant_id = $1 ORDER BY key_id",
        tenant.0
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("list the keys"))?;
    let row = rows.into_iter().map(|row| KeyRow {
        id: row.key_id,
        hint: row.hint,
        role: row.role,
        label: row.label,
        created_at: row.created_at.to_rfc3339(),
        revoked_at: row.revoked_at.map(|at| at.to_rfc3339()),
    });
    Ok(row.collect())
}

/// Whom the key with this hash speaks for; nobody when it is unknown or revoked.
pub async fn find(pool: &Pool, key_hash: &[u8; 32]) -> Result<Option<Principal>, PostgresError> {
    let row = sqlx::query!(
        "SELECT tenant_id, role FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL",
        key_hash.as_slice()
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("look the key up"))?;
    Ok(row.and_then(|row| {
        Some(Principal { tenant: TenantId(row.tenant_id), role: Role::from_name(&row.role)? })
    }))
}
