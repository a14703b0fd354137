//! Removes devices and connections. Their jobs leave the schedule through the outbox; the list of a provider does not
//! add a removed device again.

use crate::postgres::{Pool, PostgresError, Transaction};
use crate::words::{ConnectionId, DeviceId, JobId, TenantId};

/// Devices that exist, with their jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The devices.
    pub devices: Vec<DeviceId>,
    /// Their jobs.
    pub jobs: Vec<JobId>,
}

impl Inventory {
    fn of(rows: impl Iterator<Item = (i64, Option<i64>)>) -> Self {
        let mut found = Self::default();
        for (device, job) in rows {
            // Ordered by device.
            if found.devices.last() != Some(&DeviceId(device)) {
                found.devices.push(DeviceId(device));
            }
            found.jobs.extend(job.map(JobId));
        }
        found
    }
}

/// Those of these devices that the tenant has.
pub async fn of_devices(
    pool: &Pool,
    tenant: TenantId,
    devices: &[DeviceId],
) -> Result<Inventory, PostgresError> {
    let rows = sqlx::query!(
        r#"SELECT d.device_id, j.job_id AS "job_id?" FROM devices d LEFT JOIN jobs j USING (tenant_id, device_id)
           WHERE d.tenant_id = $1 AND d.device_id = ANY($2) ORDER BY d.device_id, j.job_id"#,
        tenant.0,
        &raw(devices)
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the devices"))?;
    Ok(Inventory::of(rows.into_iter().map(|row| (row.device_id, row.job_id))))
}

/// The devices of a connection.
pub async fn of_connection(
    pool: &Pool,
    tenant: TenantId,
    connection: ConnectionId,
) -> Result<Inventory, PostgresError> {
    let rows = sqlx::query!(
        r#"SELECT d.device_id, j.job_id AS "job_id?" FROM devices d LEFT JOIN jobs j USING (tenant_id, device_id)
           WHERE d.tenant_id = $1 AND d.connection_id = $2 ORDER BY d.device_id, j.job_id"#,
        tenant.0,
        connection.0
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the connection's devices"))?;
    Ok(Inventory::of(rows.into_iter().map(|row| (row.device_id, row.job_id))))
}

/// Removes devices with their jobs and latest values, all or none. Returns those that were there.
pub async fn remove_devices(
    pool: &Pool,
    tenant: TenantId,
    devices: &[DeviceId],
) -> Result<Inventory, PostgresError> {
    let failed = || PostgresError::on("remove the devices");
    let mut tx = pool.for_long_statements().begin().await.map_err(failed())?;
    // A list of devices that is being stored locks its connection's row: it ends before, or sees the removal.
    sqlx::query!(
        "SELECT connection_id FROM connections WHERE tenant_id = $1 AND connection_id IN (
             SELECT connection_id FROM devices WHERE tenant_id = $1 AND device_id = ANY($2))
         ORDER BY connection_id FOR NO KEY UPDATE",
        tenant.0,
        &raw(devices)
    )
    .fetch_all(&mut tx)
    .await
    .map_err(failed())?;
    let removed = delete(&mut tx, tenant, devices).await?;
    tx.commit().await.map_err(failed())?;
    Ok(removed)
}

/// Removes a connection with its secrets, tokens and devices, all or none. None: there is no such connection.
pub async fn remove_connection(
    pool: &Pool,
    tenant: TenantId,
    connection: ConnectionId,
) -> Result<Option<Inventory>, PostgresError> {
    let failed = || PostgresError::on("remove the connection");
    let mut tx = pool.for_long_statements().begin().await.map_err(failed())?;
    // From here on nothing is added to it.
    let locked = sqlx::query_scalar!(
        "SELECT connection_id FROM connections WHERE tenant_id = $1 AND connection_id = $2 FOR UPDATE",
        tenant.0,
        connection.0
    )
    .fetch_optional(&mut tx)
    .await
    .map_err(failed())?;
    if locked.is_none() {
        return Ok(None);
    }
    let devices = sqlx::query_scalar!(
        "SELECT device_id FROM devices WHERE tenant_id = $1 AND connection_id = $2",
        tenant.0,
        connection.0
    )
    .fetch_all(&mut tx)
    .await
    .map_err(failed())?;
    let devices: Vec<_> = devices.into_iter().map(DeviceId).collect();
    let removed = delete(&mut tx, tenant, &devices).await?;
    for table in [
        "DELETE FROM removed_devices WHERE tenant_id = $1 AND connection_id = $2",
        "DELETE FROM authorisations WHERE tenant_id = $1 AND connection_id = $2",
        "DELETE FROM tokens WHERE tenant_id = $1 AND connection_id = $2",
        "DELETE FROM connections WHERE tenant_id = $1 AND connection_id = $2",
    ] {
        sqlx::query(table).bind(tenant.0).bind(connection.0).execute(&mut tx).await.map_err(failed())?;
    }
    tx.commit().await.map_err(failed())?;
    Ok(Some(removed))
}

async fn delete(
    tx: &mut Transaction,
    tenant: TenantId,
    devices: &[DeviceId],
) -> Result<Inventory, PostgresError> {
    let failed = || PostgresError::on("remove the devices");
    // Locked before their jobs are read, so that none gets a job meanwhile; in the order of those who write readings.
    let locked = sqlx::query_scalar!(
        "SELECT device_id FROM devices WHERE tenant_id = $1 AND device_id = ANY($2)
         ORDER BY device_id FOR UPDATE",
        tenant.0,
        &raw(devices)
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(failed())?;
    sqlx::query!(
        "SELECT job_id FROM latest WHERE tenant_id = $1 AND device_id = ANY($2) ORDER BY device_id, job_id FOR UPDATE",
        tenant.0,
        &locked
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(failed())?;
    let rows = sqlx::query!(
        r#"WITH gone AS (
               SELECT d.tenant_id, d.connection_id, d.device_id, d.external_id, c.provider
               FROM devices d JOIN connections c USING (tenant_id, connection_id)
               WHERE d.tenant_id = $1 AND d.device_id = ANY($2)),
           remembered AS (
               INSERT INTO removed_devices (tenant_id, connection_id, external_id)
               SELECT tenant_id, connection_id, external_id FROM gone
               ON CONFLICT (tenant_id, connection_id, external_id) DO NOTHING),
           noted AS (
               INSERT INTO outbox (provider, job_id, removed_tenant, removed_connection, removed_device)
               SELECT g.provider, coalesce(j.job_id, 0), g.tenant_id, g.connection_id, g.device_id
               FROM gone g LEFT JOIN jobs j USING (tenant_id, device_id)),
           -- Another job probes a connection whose credentials are refused, if the one that did is removed.
           probes AS (
               INSERT INTO outbox (provider, job_id)
               SELECT c.provider, min(j.job_id)
               FROM connections c JOIN devices d USING (tenant_id, connection_id)
               JOIN jobs j USING (tenant_id, device_id)
               WHERE c.tenant_id = $1 AND c.connection_id IN (SELECT connection_id FROM gone)
                 AND c.state <> 'active' AND d.device_id <> ALL($2) AND j.state IN ('active', 'probing')
               GROUP BY c.connection_id, c.provider),
           valueless AS (DELETE FROM latest WHERE tenant_id = $1 AND device_id = ANY($2))
           SELECT g.device_id AS "device_id!", j.job_id AS "job_id?",
                  pg_notify('paceline_outbox', '')::text AS notified
           FROM gone g LEFT JOIN jobs j USING (tenant_id, device_id) ORDER BY g.device_id, j.job_id"#,
        tenant.0,
        &locked
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(failed())?;
    sqlx::query!("DELETE FROM jobs WHERE tenant_id = $1 AND device_id = ANY($2)", tenant.0, &locked)
        .execute(&mut *tx)
        .await
        .map_err(failed())?;
    sqlx::query!("DELETE FROM devices WHERE tenant_id = $1 AND device_id = ANY($2)", tenant.0, &locked)
        .execute(&mut *tx)
        .await
        .map_err(failed())?;
    Ok(Inventory::of(rows.into_iter().map(|row| (row.device_id, row.job_id))))
}

fn raw(devices: &[DeviceId]) -> Vec<i64> {
    devices.iter().map(|device| device.0).collect()
}
