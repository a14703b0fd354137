//! What an owner calls a device.

use crate::postgres::{Pool, PostgresError};
use crate::words::{DeviceId, TenantId};

/// Names a device, in place of the provider's list; an empty name leaves it to the list again. Its jobs are noted in
/// the outbox, so that what is cached of it follows. False: the tenant has no such device.
pub async fn rename(
    pool: &Pool,
    tenant: TenantId,
    device: DeviceId,
    name: &str,
) -> Result<bool, PostgresError> {
    let renamed = sqlx::query_scalar!(
        r#"WITH renamed AS (
               UPDATE devices SET name = $3, name_origin = CASE WHEN $3 <> '' THEN 'owner' END
               WHERE tenant_id = $1 AND device_id = $2 RETURNING tenant_id, device_id),
           noted AS (
               INSERT INTO outbox (provider, job_id)
               SELECT j.provider, j.job_id FROM renamed JOIN jobs j USING (tenant_id, device_id)),
           notified AS (SELECT pg_notify('paceline_outbox', '')::text FROM renamed)
           SELECT (SELECT count(*) FROM renamed) + 0 * (SELECT count(*) FROM notified) AS "renamed!""#,
        tenant.0,
        device.0,
        name
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("rename the device"))?;
    Ok(renamed == 1)
}
