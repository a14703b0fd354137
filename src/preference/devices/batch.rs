//! Devices: added in batches, each with its jobs.

use crate::postgres::{Pool, PostgresError, Transaction};
use crate::preference::jobs::defaults::{self, Fallback, Whose};
use crate::words::{ConnectionId, DeviceId, Interval, Priority, ProviderName, ResourceName, TenantId};
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

/// Who added a device or named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Its owner: the name stays, and a removed device returns.
    Owner,
    /// The provider's list of devices: the name follows it.
    Provider,
}

impl Origin {
    /// Its name in Postgres.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Provider => "provider",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Owner, Self::Provider].into_iter().find(|origin| origin.as_str() == name)
    }
}

/// Adds devices for their owner, with their jobs and the jobs' outbox rows, all or none. External ids must be
/// distinct.
///
/// An existing device gets the new name and group, and the named jobs; its other jobs stay.
pub async fn add(
    pool: &Pool,
    account: &TenantConnection,
    devices: &[NewDevice],
) -> Result<Vec<DeviceId>, PostgresError> {
    let failed = || PostgresError::on("add the devices");
    let mut tx = pool.begin().await.map_err(failed())?;
    let ids = add_in(&mut tx, account, devices, Origin::Owner).await?;
    tx.commit().await.map_err(failed())?;
    Ok(ids)
}

/// [`add`] within a transaction. An owner's name is replaced by another name of the owner's only.
pub async fn add_in(
    tx: &mut Transaction,
    account: &TenantConnection,
    devices: &[NewDevice],
    by: Origin,
) -> Result<Vec<DeviceId>, PostgresError> {
    let failed = || PostgresError::on("add the devices");
    let external: Vec<String> = devices.iter().map(|d| d.external_id.clone()).collect();
    let names: Vec<String> = devices.iter().map(|d| d.name.clone()).collect();
    let groups: Vec<String> = devices.iter().map(|d| d.group.clone()).collect();
    let rows = sqlx::query!(
        "INSERT INTO devices AS d (tenant_id, connection_id, external_id, name, name_origin, group_key)
         SELECT $1, $2, t.external_id, t.name, CASE WHEN t.name <> '' THEN $6 END, t.group_key
         FROM UNNEST($3::text[], $4::text[], $5::text[]) AS t (external_id, name, group_key)
         ON CONFLICT (tenant_id, connection_id, external_id) DO UPDATE SET
             (name, name_origin) = (
                 SELECT CASE WHEN replaced THEN excluded.name ELSE d.name END,
                        CASE WHEN replaced THEN excluded.name_origin ELSE d.name_origin END
                 FROM (VALUES (excluded.name <> '' AND (excluded.name_origin = 'owner' OR d.name = ''
                                                        OR d.name_origin = 'provider'))) AS t (replaced)),
             group_key = excluded.group_key
         RETURNING device_id, external_id",
        account.tenant.0,
        account.connection.0,
        &external,
        &names,
        &groups,
        by.as_str()
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(failed())?;
    if by == Origin::Owner {
        forget_removals(tx, account, &external).await?;
    }
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
        "INSERT INTO jobs AS j (tenant_id, provider, device_id, resource, interval_ms, priority, origin)
         SELECT $1, $2, t.*, CASE $7 WHEN 'owner' THEN 'device' ELSE 'provider' END
         FROM UNNEST($3::bigint[], $4::text[], $5::bigint[], $6::smallint[]) t
         ON CONFLICT (tenant_id, device_id, resource) DO UPDATE SET
             interval_ms = CASE WHEN j.in_window THEN j.interval_ms ELSE excluded.interval_ms END,
             base_ms = CASE WHEN j.windows IS NOT NULL THEN excluded.interval_ms END,
             origin = excluded.origin, priority = excluded.priority, version = j.version + 1",
        account.tenant.0,
        account.provider.as_str(),
        &wanted.devices,
        &wanted.resources,
        &wanted.intervals,
        &wanted.priorities,
        by.as_str()
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

/// Has jobs that nobody asked for, by external id and resource, follow the preference of their group or connection; and
/// so those of these devices that do already, since a device may have moved to another group.
pub(super) async fn follow_defaults(
    tx: &mut Transaction,
    account: &TenantConnection,
    by_default: &[(String, String)],
    devices: &[i64],
    fallback: Fallback<'_>,
) -> Result<(), PostgresError> {
    let (ids, resources): (Vec<String>, Vec<String>) = by_default.iter().cloned().unzip();
    if !ids.is_empty() {
        sqlx::query!(
            "UPDATE jobs j SET origin = 'provider'
             FROM UNNEST($3::text[], $4::text[]) t (external_id, resource)
             JOIN devices d ON d.tenant_id = $1 AND d.connection_id = $2 AND d.external_id = t.external_id
             WHERE j.tenant_id = $1 AND j.device_id = d.device_id AND j.resource = t.resource",
            account.tenant.0,
            account.connection.0,
            &ids,
            &resources
        )
        .execute(&mut *tx)
        .await
        .map_err(PostgresError::on("add the devices"))?;
    }
    let whose = Whose { tenant: account.tenant, connection: account.connection };
    if defaults::any(tx, whose).await? {
        defaults::follow(tx, whose, Some(devices), fallback).await?;
    }
    Ok(())
}

/// Gives devices that are stored by these ids of the provider's own their whole ids, unless there is one of that id
/// already. Removed devices of these ids may be added again.
pub(super) async fn complete_ids(
    tx: &mut Transaction,
    account: &TenantConnection,
    id_prefix: &str,
    own_ids: &[String],
) -> Result<(), PostgresError> {
    sqlx::query!(
        "UPDATE devices d SET external_id = $4 || d.external_id
         WHERE tenant_id = $1 AND connection_id = $2 AND external_id = ANY($3)
           AND NOT EXISTS (SELECT 1 FROM devices whole
                           WHERE whole.tenant_id = $1 AND whole.connection_id = $2
                             AND whole.external_id = $4 || d.external_id)",
        account.tenant.0,
        account.connection.0,
        own_ids,
        id_prefix
    )
    .execute(&mut *tx)
    .await
    .map_err(PostgresError::on("add the devices"))?;
    forget_removals(tx, account, own_ids).await
}

/// From here on the provider's list may add these devices again.
async fn forget_removals(
    tx: &mut Transaction,
    account: &TenantConnection,
    external: &[String],
) -> Result<(), PostgresError> {
    sqlx::query!(
        "DELETE FROM removed_devices WHERE tenant_id = $1 AND connection_id = $2 AND external_id = ANY($3)",
        account.tenant.0,
        account.connection.0,
        external
    )
    .execute(tx)
    .await
    .map(drop)
    .map_err(PostgresError::on("add the devices"))
}

/// The existing jobs of these devices, as external id and resource.
pub async fn jobs_of(
    tx: &mut Transaction,
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
