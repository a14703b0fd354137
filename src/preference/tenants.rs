//! Tenants, by name.

use crate::postgres::{Pool, PostgresError};
use crate::words::TenantId;

/// Why a tenant is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// Not a name.
    #[error("{0:?} is not a tenant name: use 1 to 63 lower-case letters, digits, '-' or '_'")]
    BadName(String),
    /// Nobody is called that.
    #[error("there is no tenant {0:?}; `paceline key create --tenant {0} --role user` makes it")]
    Unknown(String),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// The tenant of this name, made if it is new.
pub async fn ensure(pool: &Pool, name: &str) -> Result<TenantId, TenantError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) || name.starts_with(['-', '_']) {
        return Err(TenantError::BadName(name.to_owned()));
    }
    // The no-op update makes the row of a name that exists come back too.
    let row = sqlx::query!(
        "INSERT INTO tenants (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name
         RETURNING tenant_id",
        name
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("make the tenant"))?;
    Ok(TenantId(row.tenant_id))
}

/// The tenant of this name.
pub async fn find(pool: &Pool, name: &str) -> Result<TenantId, TenantError> {
    let id = sqlx::query_scalar!("SELECT tenant_id FROM tenants WHERE name = $1", name)
        .fetch_optional(pool)
        .await
        .map_err(PostgresError::on("find the tenant"))?;
    id.map(TenantId).ok_or_else(|| TenantError::Unknown(name.to_owned()))
}
