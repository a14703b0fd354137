//! Tenants, by name, and their weights.

use crate::postgres::{Pool, PostgresError};
use crate::words::TenantId;
use crate::words::text::excerpt;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// An error of looking up a tenant.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// Not a name.
    #[error("{:?} is not a tenant name: use 1 to 63 lower-case letters, digits, '-' or '_'", excerpt(.0))]
    BadName(String),
    /// There is no tenant of this name.
    #[error("there is no tenant {0:?}; `paceline key create --tenant {0} --role user` creates it")]
    Unknown(String),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// The weight of a tenant's lanes: twice the weight gets twice the share of a contended quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Weight(u16);

/// The text is not a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a weight is a whole number from {} to {}; the default is 1", Weight::MIN, Weight::MAX)]
pub struct WeightError;

impl Weight {
    const MIN: u16 = 1;
    const MAX: u16 = 1000;
}

impl FromStr for Weight {
    type Err = WeightError;
    fn from_str(text: &str) -> Result<Self, WeightError> {
        let weight = text.parse().ok().filter(|weight| (Self::MIN..=Self::MAX).contains(weight));
        weight.map(Self).ok_or(WeightError)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A tenant in a list.
#[derive(Debug, Clone, Serialize)]
pub struct TenantRow {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The weight of its lanes.
    pub weight: i32,
    /// The number of its connections.
    pub connections: i64,
    /// The number of their devices.
    pub devices: i64,
}

/// The tenant of this name; creates it if there is none.
pub async fn ensure(pool: &Pool, name: &str) -> Result<TenantId, TenantError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) || name.starts_with(['-', '_']) {
        return Err(TenantError::BadName(name.to_owned()));
    }
    // The no-op update returns the row of an existing name too.
    let row = sqlx::query!(
        "INSERT INTO tenants (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name
         RETURNING tenant_id",
        name
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("create the tenant"))?;
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

/// All tenants, by name.
pub async fn list(pool: &Pool) -> Result<Vec<TenantRow>, PostgresError> {
    sqlx::query_as!(
        TenantRow,
        r#"-- All tenants: the operator's list.
           SELECT tenant_id AS id, name, weight,
                  (SELECT count(*) FROM connections c WHERE c.tenant_id = t.tenant_id) AS "connections!",
                  (SELECT count(*) FROM devices d WHERE d.tenant_id = t.tenant_id) AS "devices!"
           FROM tenants t ORDER BY name"#
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("list the tenants"))
}

/// Stores a weight, together with an outbox row for every job of the tenant, because the schedule receives weights
/// with jobs. Returns the number of jobs.
pub async fn set_weight(pool: &Pool, tenant: TenantId, weight: Weight) -> Result<u64, PostgresError> {
    let row = sqlx::query!(
        r#"WITH weighed AS (UPDATE tenants SET weight = $2 WHERE tenant_id = $1 RETURNING tenant_id),
         noted AS (
             INSERT INTO outbox (provider, job_id)
             SELECT j.provider, j.job_id FROM weighed JOIN jobs j USING (tenant_id) RETURNING 1)
         SELECT count(*) AS "jobs!", pg_notify('paceline_outbox', '')::text AS notified FROM noted"#,
        tenant.0,
        i32::from(weight.0)
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("store the weight"))?;
    Ok(row.jobs as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_out_of_range_is_refused() {
        for good in ["1", "7", "1000"] {
            assert_eq!(good.parse::<Weight>().unwrap().to_string(), good);
        }
        for bad in ["0", "1001", "-1", "1.5", "", "heavy", "65537"] {
            let refusal = bad.parse::<Weight>().unwrap_err().to_string();
            assert!(refusal.contains("from 1 to 1000"), "{bad}: {refusal}");
        }
    }
}
