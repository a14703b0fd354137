//! Erases what was recorded of devices that are removed.

use crate::postgres::{Pool, PostgresError};
use crate::words::{DeviceId, JobId, TenantId};

/// The number of readings that the history has of these devices.
pub async fn count(pool: &Pool, tenant: TenantId, devices: &[DeviceId]) -> Result<i64, PostgresError> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM readings WHERE tenant_id = $1 AND device_id = ANY($2)"#,
        tenant.0,
        &devices.iter().map(|device| device.0).collect::<Vec<_>>()
    )
    .fetch_one(&pool.for_long_statements())
    .await
    .map_err(PostgresError::on("count the readings"))
}

/// Devices or jobs whose history is deleted in one statement, so that none takes long.
const BATCH: usize = 100;

const UNFINISHED: &str =
    "delete all history of the removed devices; what is left goes when the settings of [history] let it go";

/// Deletes the history of removed devices and of their jobs. Returns how many readings it had.
pub async fn delete(
    pool: &Pool,
    tenant: TenantId,
    devices: &[DeviceId],
    jobs: &[JobId],
) -> Result<u64, PostgresError> {
    let failed = || PostgresError::on(UNFINISHED);
    let pool = &pool.for_long_statements();
    let mut readings = 0;
    for batch in devices.chunks(BATCH) {
        let ids: Vec<i64> = batch.iter().map(|device| device.0).collect();
        let delete = "DELETE FROM readings WHERE tenant_id = $1 AND device_id = ANY($2)";
        let done = sqlx::query(delete).bind(tenant.0).bind(&ids).execute(pool).await.map_err(failed())?;
        readings += done.rows_affected();
        let delete = "DELETE FROM rollups WHERE tenant_id = $1 AND device_id = ANY($2)";
        sqlx::query(delete).bind(tenant.0).bind(&ids).execute(pool).await.map_err(failed())?;
        // A statement that began before the devices were removed may have written one.
        let delete = "DELETE FROM latest WHERE tenant_id = $1 AND device_id = ANY($2)";
        sqlx::query(delete).bind(tenant.0).bind(&ids).execute(pool).await.map_err(failed())?;
    }
    for batch in jobs.chunks(BATCH) {
        let ids: Vec<i64> = batch.iter().map(|job| job.0).collect();
        let delete = "DELETE FROM sync_events WHERE tenant_id = $1 AND job_id = ANY($2)";
        sqlx::query(delete).bind(tenant.0).bind(&ids).execute(pool).await.map_err(failed())?;
    }
    Ok(readings)
}
