//! Devices that the cache lacks, read once however many readers ask for them at the same time.

use super::App;
use super::cards::DeviceLatest;
use crate::postgres::PostgresError;
use crate::words::{DeviceId, TenantId};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

type Found = Arc<HashMap<DeviceId, DeviceLatest>>;
type Load = Shared<BoxFuture<'static, Result<Found, RefillFailed>>>;

/// Loads that have not ended, by each device that they read.
#[derive(Clone, Default)]
pub(super) struct Refills(Arc<Mutex<HashMap<(TenantId, DeviceId), Load>>>);

/// Why devices could not be read, for each of those who waited for them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RefillFailed {
    /// Postgres.
    #[error(transparent)]
    Postgres(Arc<PostgresError>),
    /// The task that read them panicked.
    #[error("the task that read the devices failed: {0}")]
    Task(Arc<tokio::task::JoinError>),
}

impl App {
    /// Reads devices of this tenant that the cache lacks from Postgres, and writes them to the cache. A device that is
    /// being read already is waited for. Once begun, a load ends even if its reader goes away: others may wait for it.
    pub async fn refill_devices(
        &self,
        tenant: TenantId,
        ids: &[DeviceId],
    ) -> Result<HashMap<DeviceId, DeviceLatest>, RefillFailed> {
        let mut devices = HashMap::with_capacity(ids.len());
        for load in self.loads(tenant, ids) {
            let found = load.await?;
            devices.extend(ids.iter().filter_map(|id| Some((*id, found.get(id)?.clone()))));
        }
        Ok(devices)
    }

    /// The loads that these devices are in, after beginning one for those that are in none.
    fn loads(&self, tenant: TenantId, ids: &[DeviceId]) -> Vec<Load> {
        let mut running = self.refills.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut loads: Vec<Load> = Vec::new();
        let mut new = Vec::new();
        for id in ids {
            match running.get(&(tenant, *id)) {
                Some(load) if loads.iter().any(|other| other.ptr_eq(load)) => {}
                Some(load) => loads.push(load.clone()),
                None => new.push(*id),
            }
        }
        if !new.is_empty() {
            let ids: Arc<[DeviceId]> = new.into();
            let load = self.load(tenant, ids.clone());
            running.extend(ids.iter().map(|id| ((tenant, *id), load.clone())));
            loads.push(load);
        }
        loads
    }

    fn load(&self, tenant: TenantId, ids: Arc<[DeviceId]>) -> Load {
        let app = self.clone();
        let ended = Ended { refills: self.refills.clone(), tenant, ids: ids.clone() };
        let task = self.detached.spawn(async move {
            let _ended = ended;
            // A load may have ended between this reader's look into the cache and now.
            let mut devices = app.cached_devices(tenant, &ids).await;
            let missing: Vec<_> = ids.iter().copied().filter(|id| !devices.contains_key(id)).collect();
            if !missing.is_empty() {
                let snapshots = app.load_devices(Some(tenant), &missing).await?;
                devices
                    .extend(snapshots.into_iter().map(|(id, snapshot)| (id, DeviceLatest::from(snapshot))));
            }
            Ok(Arc::new(devices))
        });
        let load = async move {
            match task.await {
                Ok(found) => found.map_err(|error| RefillFailed::Postgres(Arc::new(error))),
                Err(error) => Err(RefillFailed::Task(Arc::new(error))),
            }
        };
        load.boxed().shared()
    }
}

/// Takes a load from the running ones when it ends, however it does.
struct Ended {
    refills: Refills,
    tenant: TenantId,
    ids: Arc<[DeviceId]>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut running = self.refills.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in self.ids.iter() {
            running.remove(&(self.tenant, *id));
        }
    }
}
