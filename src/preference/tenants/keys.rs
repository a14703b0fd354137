//! API keys: shown once, stored as a hash.

use crate::postgres::{Pool, PostgresError};
use crate::seal::{SealError, random};
use crate::words::{Role, TenantId, TextError, text};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The NOTIFY channel that announces changed keys.
pub const CHANNEL: &str = "paceline_keys";

/// The tenant and role of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The tenant whose data it may access.
    pub tenant: TenantId,
    /// The role.
    pub role: Role,
}

/// A key that is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidKey {
    /// Its number.
    pub id: i64,
    /// Whose it is, and what it may do.
    pub principal: Principal,
    /// How long it still is, if it expires.
    pub expires_in: Option<Duration>,
}

/// A key in a list, without the key itself.
#[derive(Debug, Clone, serde::Serialize)]
pub struct KeyRow {
    /// Its number, for `paceline key revoke`.
    pub id: i64,
    /// Its first characters.
    pub hint: String,
    /// The role.
    pub role: String,
    /// Its label.
    pub label: String,
    /// When it was created.
    pub created_at: String,
    /// When it expires or expired, if it does.
    pub expires_at: Option<String>,
    /// When it was used last, to the minute; none if it never was.
    pub used_at: Option<String>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<String>,
}

/// An error of creating, revoking or listing keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system gave no random bytes.
    #[error(transparent)]
    Random(#[from] SealError),
    /// The label.
    #[error(transparent)]
    Label(#[from] TextError),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// No such key of this tenant.
    #[error("tenant {tenant} has no unrevoked key number {id}; `paceline key list` shows them")]
    Unknown {
        /// The tenant.
        tenant: TenantId,
        /// The requested number.
        id: i64,
    },
}

/// The hash by which a key is looked up. A key has 256 random bits, so a fast hash is as safe as a slow one.
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Creates a key and returns it with its number. It cannot be shown again. `days`: after so many it expires; none:
/// never.
pub async fn create(
    pool: &Pool,
    who: Principal,
    label: &str,
    days: Option<u16>,
) -> Result<(i64, SecretString), KeyError> {
    let label = text::name("label", label)?;
    let key = format!("pl_{}_{}", who.role, URL_SAFE_NO_PAD.encode(random::<32>()?));
    let hint: String = key.chars().take(who.role.as_str().len() + 8).collect();
    let hashed = hash(&key);
    let id = sqlx::query_scalar!(
        "INSERT INTO api_keys (tenant_id, key_hash, hint, role, label, expires_at)
         VALUES ($1, $2, $3, $4, $5, now() + $6::integer * interval '1 day') RETURNING key_id",
        who.tenant.0,
        hashed.as_slice(),
        hint,
        who.role.as_str(),
        label,
        days.map(i32::from) as Option<i32>
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("create the key"))?;
    Ok((id, key.into()))
}

/// Revokes a key in all processes at once.
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
        "SELECT key_id, hint, role, label, created_at, expires_at, used_at, revoked_at
         FROM api_keys WHERE tenant_id = $1 ORDER BY key_id",
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
        expires_at: row.expires_at.map(|at| at.to_rfc3339()),
        used_at: row.used_at.map(|at| at.to_rfc3339()),
        revoked_at: row.revoked_at.map(|at| at.to_rfc3339()),
    });
    Ok(row.collect())
}

/// The key with this hash; none if it is unknown, expired or revoked.
pub async fn find(pool: &Pool, key_hash: &[u8; 32]) -> Result<Option<ValidKey>, PostgresError> {
    let row = sqlx::query!(
        r#"-- All tenants: the key says whose it is.
           SELECT tenant_id, key_id, role,
                  (extract(epoch FROM expires_at - now()) * 1000)::bigint AS expires_in_ms
           FROM api_keys
           WHERE key_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"#,
        key_hash.as_slice()
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("look the key up"))?;
    Ok(row.and_then(|row| {
        Some(ValidKey {
            id: row.key_id,
            principal: Principal { tenant: TenantId(row.tenant_id), role: Role::from_name(&row.role)? },
            expires_in: row.expires_in_ms.map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())),
        })
    }))
}

/// Notes that these keys were used now. Keys are named with their tenants.
pub async fn note_used(pool: &Pool, used: &[(TenantId, i64)]) -> Result<(), PostgresError> {
    sqlx::query!(
        "-- All tenants: a process serves all.
         UPDATE api_keys SET used_at = now()
         WHERE (tenant_id, key_id) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[]))",
        &used.iter().map(|(tenant, _)| tenant.0).collect::<Vec<_>>(),
        &used.iter().map(|(_, id)| *id).collect::<Vec<_>>()
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("note which keys were used"))
}
