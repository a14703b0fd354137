//! Which providers' schedules were ever built: distinguishes a new schedule from one that Redis lost.

use crate::postgres::{Pool, PostgresError};
use crate::words::ProviderName;

/// Whether calls may have been made for the provider before.
pub async fn is_known(pool: &Pool, provider: &ProviderName) -> Result<bool, PostgresError> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM schedules WHERE provider = $1) AS "known!""#,
        provider.as_str()
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("read the schedules"))
}

/// The highest fence under which anything of the provider was recorded.
pub async fn last_fence(pool: &Pool, provider: &ProviderName) -> Result<i64, PostgresError> {
    sqlx::query_scalar!(
        r#"-- All tenants: a provider's schedule has jobs of any.
           SELECT greatest(
               (SELECT max(l.fence) FROM latest l JOIN jobs j USING (tenant_id, job_id) WHERE j.provider = $1),
               (SELECT fence FROM schedules WHERE provider = $1), 0) AS "fence!""#,
        provider.as_str()
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("read the last fence"))
}

/// Records that calls may be made from now on.
pub async fn remember(pool: &Pool, provider: &ProviderName, fence: i64) -> Result<(), PostgresError> {
    sqlx::query!(
        "INSERT INTO schedules (provider, fence) VALUES ($1, $2)
         ON CONFLICT (provider) DO UPDATE SET fence = excluded.fence, built_at = now()",
        provider.as_str(),
        fence
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("record the schedule"))
}
