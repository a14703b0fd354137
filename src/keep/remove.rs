//! Removes devices and connections: from Postgres, then from what Redis derives of it, then from the history.

use super::KeepError;
use crate::app::App;
use crate::postgres::PostgresError;
use crate::preference::removal::{self, Inventory};
use crate::record::erase;
use crate::words::{ConnectionId, DeviceId, TenantId};
use serde::Serialize;
use std::fmt;

/// What a removal deletes, or has deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Removal {
    /// Devices.
    #[schema(example = 12)]
    pub devices: u64,
    /// Their jobs.
    pub jobs: u64,
    /// Readings in their history.
    pub readings: u64,
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { devices, jobs, readings } = self;
        let plural = |count: &u64| if *count == 1 { "" } else { "s" };
        write!(f, "{devices} device{}, {jobs} job{}", plural(devices), plural(jobs))?;
        write!(f, " and {readings} reading{}", plural(readings))
    }
}

impl Removal {
    fn new(found: &Inventory, readings: u64) -> Self {
        Self { devices: found.devices.len() as u64, jobs: found.jobs.len() as u64, readings }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            devices: self.devices + other.devices,
            jobs: self.jobs + other.jobs,
            readings: self.readings + other.readings,
        }
    }
}

/// What removing these devices of the tenant would delete.
pub async fn count_devices(
    app: &App,
    tenant: TenantId,
    devices: &[DeviceId],
) -> Result<Removal, PostgresError> {
    count(app, tenant, removal::of_devices(&app.pool, tenant, devices).await?).await
}

/// What removing the connection would delete.
pub async fn count_connection(
    app: &App,
    tenant: TenantId,
    connection: ConnectionId,
) -> Result<Removal, PostgresError> {
    count(app, tenant, removal::of_connection(&app.pool, tenant, connection).await?).await
}

async fn count(app: &App, tenant: TenantId, found: Inventory) -> Result<Removal, PostgresError> {
    let readings = erase::count(&app.pool, tenant, &found.devices).await?;
    Ok(Removal::new(&found, readings.unsigned_abs()))
}

/// Removes devices with their jobs, values and history.
pub async fn remove_devices(app: &App, tenant: TenantId, devices: &[DeviceId]) -> Result<Removal, KeepError> {
    let removed = removal::remove_devices(&app.pool, tenant, devices).await?;
    forget(app, tenant, &removed).await
}

/// Removes a connection with its secrets, tokens and devices. None: there is no such connection.
pub async fn remove_connection(
    app: &App,
    tenant: TenantId,
    connection: ConnectionId,
) -> Result<Option<Removal>, KeepError> {
    match removal::remove_connection(&app.pool, tenant, connection).await? {
        Some(removed) => forget(app, tenant, &removed).await.map(Some),
        None => Ok(None),
    }
}

/// After Postgres: the schedule and the cache through the outbox, which a keeper drains if this process cannot; then
/// the history, which gets no more once the jobs are gone.
async fn forget(app: &App, tenant: TenantId, removed: &Inventory) -> Result<Removal, KeepError> {
    if let Err(error) = super::drain(app).await {
        tracing::warn!(%error, "outbox not drained; the schedule follows when Redis can be reached again");
    }
    let readings = erase::delete(&app.pool, tenant, &removed.devices, &removed.jobs).await?;
    Ok(Removal::new(removed, readings))
}
