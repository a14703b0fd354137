//! Devices from Postgres into the cache.

use super::App;
use crate::cache::{META, Slot};
use crate::postgres::PostgresError;
use crate::record::view::{self, DeviceMeta, DeviceSnapshot};
use crate::words::{DeviceId, Latest, TenantId};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::timeout;

/// A cache that takes longer is slower than Postgres, so readers go there instead.
pub const CACHE_TIMEOUT: Duration = Duration::from_millis(250);

/// A device with its latest readings.
#[derive(Debug, Clone)]
pub struct DeviceLatest {
    /// What it is, and its jobs.
    pub meta: DeviceMeta,
    /// By resource.
    pub latest: HashMap<String, Latest>,
}

impl DeviceLatest {
    /// None if the cache lacks the device's metadata or an older version of Paceline wrote it.
    fn read(mut fields: HashMap<String, String>) -> Option<Self> {
        let meta: DeviceMeta = serde_json::from_str(&fields.remove(META)?).ok()?;
        let latest = fields.into_iter().map(|(name, json)| Some((name, serde_json::from_str(&json).ok()?)));
        Some(Self { meta, latest: latest.collect::<Option<_>>()? })
    }
}

impl From<DeviceSnapshot> for DeviceLatest {
    fn from(snapshot: DeviceSnapshot) -> Self {
        let latest = snapshot.latest.into_iter().map(|(resource, (_, latest))| (resource, latest));
        Self { latest: latest.collect(), meta: snapshot.meta }
    }
}

impl App {
    /// Those of a tenant's devices that the cache has in full; none if Redis is away.
    pub async fn cached_devices(
        &self,
        tenant: TenantId,
        ids: &[DeviceId],
    ) -> HashMap<DeviceId, DeviceLatest> {
        let found = match timeout(CACHE_TIMEOUT, self.cache.get(tenant, ids)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::debug!(%error, "cache skipped");
                Vec::new()
            }
            Err(_) => {
                tracing::debug!("cache skipped: no answer in time");
                Vec::new()
            }
        };
        let known = ids.iter().copied().zip(found);
        known.filter_map(|(id, fields)| Some((id, DeviceLatest::read(fields)?))).collect()
    }

    /// Reads devices, of this tenant or of all, and writes them to the cache. A failing Redis is not an error: readers
    /// go to Postgres.
    pub async fn load_devices(
        &self,
        tenant: Option<TenantId>,
        ids: &[DeviceId],
    ) -> Result<HashMap<DeviceId, DeviceSnapshot>, PostgresError> {
        let snapshots = view::devices(&self.pool, tenant, ids).await?;
        let slots: Vec<Slot> = snapshots.iter().flat_map(|(id, snapshot)| slots(*id, snapshot)).collect();
        match timeout(CACHE_TIMEOUT, self.cache.put(&slots)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cache not filled"),
            Err(_) => tracing::debug!("cache not filled: no answer in time"),
        }
        Ok(snapshots)
    }
}

fn slots(device: DeviceId, snapshot: &DeviceSnapshot) -> Vec<Slot> {
    let slot = |field: &str, version, json: Result<String, _>| {
        Some(Slot {
            tenant: snapshot.tenant,
            device,
            field: field.to_owned(),
            version,
            json: json.ok()?,
            is_change: false,
        })
    };
    let meta = slot(META, snapshot.version, serde_json::to_string(&snapshot.meta));
    let values = snapshot
        .latest
        .iter()
        .filter_map(|(resource, (fence, latest))| slot(resource, *fence, serde_json::to_string(latest)));
    meta.into_iter().chain(values).collect()
}
