//! Devices from Postgres into the cache.

use super::App;
use crate::cache::{META, Slot};
use crate::postgres::PostgresError;
use crate::record::view::{self, DeviceSnapshot};
use crate::words::{DeviceId, TenantId};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::timeout;

/// A cache that takes longer is slower than Postgres, so readers go there instead.
pub const CACHE_TIMEOUT: Duration = Duration::from_millis(250);

impl App {
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
        Some(Slot { tenant: snapshot.tenant, device, field: field.to_owned(), version, json: json.ok()? })
    };
    let meta = slot(META, snapshot.version, serde_json::to_string(&snapshot.meta));
    let values = snapshot
        .latest
        .iter()
        .filter_map(|(resource, (fence, latest))| slot(resource, *fence, serde_json::to_string(latest)));
    meta.into_iter().chain(values).collect()
}
