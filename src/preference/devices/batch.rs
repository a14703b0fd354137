//! Devices: added in batches, each with its jobs.

use crate::postgres::{Pool, PostgresError};
use crate::words::{ConnectionId, DeviceId, Interval, Priority, ProviderName, ResourceName, TenantId};
use sqlx::PgConnection;
use std::collections::HashSet;

/// A device to be added, or changed if the connection has it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDevice {
    /// The provider's id of the device.
    pub external_id: String,
    /// Its label.
    pub name: String,
    /// Its group, such as a home; empty for none.
    pub group: String,
    /// Its jobs.
    pub jobs: Vec<(ResourceName, Interval, Priority)>,
}

/// A connection with its tenant and provider: where devices are added.
#[derive(Debug, Clone)]
pub struct TenantConnection {
    /// The tenant.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// The provider.
    pub provider: ProviderName,
}

/// Adds devices with their jobs and the jobs' outbox rows, all or none. External ids must be distinct.
///
/// An existing device gets the new name and group, and the named jobs; its other jobs stay.
pub async fn add(
    pool: &Pool,
    account: &TenantConnection,
    devices: &[NewDevice],
) -> Result<Vec<DeviceId>, PostgresError> {
    let failed = || PostgresError::on("add the devices");
    let mut tx = pool.begin().await.map_err(failed())?;
    let ids = add_in(&mut tx, account, devices).await?;
    tx.commit().await.map_err(failed())?;
    Ok(ids)
}

/// [`add`] within a transaction.
pub async fn add_in(
    tx: &mut PgConnection,
    account: &TenantConnection,
    devices: &[NewDevice],
) -> Result<Vec<DeviceId>, PostgresError> {
    let failed = || PostgresError::on("add the devices");
    let external: Vec<String> = devices.iter().map(|d| d.external_id.clone()).collect();
    let names: Vec<String> = devices.iter().map(|d| d.name.clone()).collect();
    let groups: Vec<String> = devices.iter().map(|d| d.group.clone()).collect();
    let rows = sqlx::query!(
        "INSERT INTO devices AS d (tenant_id, connection_id, external_id, name, group_key)
         SELECT $1, $2, * FROM UNNEST($3::text[], $4::text[], $5::text[])
         ON CONFLICT (tenant_id, connection_id, external_id) DO UPDATE SET
             name = CASE WHEN excluded.name = '' THEN d.name ELSE excluded.name END,
             group_key = excluded.group_key
         RETURNING device_id, external_id",
        account.tenant.0,
        account.connection.0,
        &external,
        &names,
        &groups
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(failed())?;
    let ids: std::collections::HashMap<_, _> =
        rows.into_iter().map(|row| (row.external_id, DeviceId(row.device_id))).collect();
    let mut wanted = Wanted::default();
    for device in devices {
        let Some(id) = ids.get(&device.external_id) else { continue };
        for (resource, interval, priority) in &device.jobs {
            wanted.devices.push(id.0);
            wanted.resources.push(resource.to_string());
            wanted.intervals.push(interval.as_ms() as i64);
            wanted.priorities.push(priority.class().into());
        }
    }
    sqlx::query!(
        "INSERT INTO jobs AS j (tenant_id, provider, device_id, resource, interval_ms, priority)
         SELECT $1, $2, * FROM UNNEST($3::bigint[], $4::text[], $5::bigint[], $6::smallint[])
         ON CONFLICT (tenant_id, device_id, resource) DO UPDATE SET
             interval_ms = excluded.interval_ms, priority = excluded.priority, version = j.version + 1",
        account.tenant.0,
        account.provider.as_str(),
        &wanted.devices,
        &wanted.resources,
        &wanted.intervals,
        &wanted.priorities
    )
    .execute(&mut *tx)
    .await
    .map_err(failed())?;
    // All jobs of these devices, because a device that moved to another group takes its other jobs along.
    let moved: Vec<i64> = ids.values().map(|id| id.0).collect();
    sqlx::query!(
        "INSERT INTO outbox (provider, job_id)
         SELECT provider, job_id FROM jobs WHERE tenant_id = $1 AND device_id = ANY($2)",
        account.tenant.0,
        &moved
    )
    .execute(&mut *tx)
    .await
    .map_err(failed())?;
    sqlx::query!("SELECT pg_notify('paceline_outbox', '')").execute(&mut *tx).await.map_err(failed())?;
    Ok(devices.iter().filter_map(|d| ids.get(&d.external_id).copied()).collect())
}

/// The existing jobs of these devices, as external id and resource.
pub async fn jobs_of(
    tx: &mut PgConnection,
    account: &TenantConnection,
    external: &[String],
) -> Result<HashSet<(String, String)>, PostgresError> {
    let rows = sqlx::query!(
        "SELECT d.external_id, j.resource FROM devices d JOIN jobs j USING (tenant_id, device_id)
         WHERE d.tenant_id = $1 AND d.connection_id = $2 AND d.external_id = ANY($3)",
        account.tenant.0,
        account.connection.0,
        external
    )
    .fetch_all(tx)
    .await
    .map_err(PostgresError::on("read the devices' jobs"))?;
    Ok(rows.into_iter().map(|row| (row.external_id, row.resource)).collect())
}

#[derive(Default)]
struct Wanted {
    devices: Vec<i64>,
    resources: Vec<String>,
    intervals: Vec<i64>,
    priorities: Vec<i16>,
}
