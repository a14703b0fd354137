//! The read path: the cache, else Postgres, which refills the cache. Either server may be away.

use crate::app::{App, CACHE_TIMEOUT};
use crate::cache::META;
use crate::postgres::{PostgresError, Read};
use crate::record::view::{self, DeviceMeta, DeviceSnapshot, JobMeta};
use crate::words::{DeviceId, Interval, JobState, Latest, Priority, TenantId, UnixMs};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use tokio::time::timeout;

pub use crate::record::view::Filter;

/// Why a read failed: the cache had no answer and Postgres is away.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// A device as readers see it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct DeviceView {
    /// Its number here.
    #[schema(example = 17)]
    pub id: DeviceId,
    /// What its owner calls it.
    #[schema(example = "Living room")]
    pub name: String,
    /// The provider's own id of it.
    #[schema(example = "th-7c9e6679")]
    pub external_id: String,
    /// Its provider.
    #[schema(example = "meadow")]
    pub provider: String,
    /// The label of its connection.
    #[schema(example = "home")]
    pub connection: String,
    /// Its home or site; null for none.
    #[schema(required = true)]
    pub group: Option<String>,
    /// What kind of device it is; null where nobody tells.
    #[schema(required = true, example = "awair-element")]
    pub model: Option<String>,
    /// Since when the cloud's own list of devices leaves it out; null while it does not.
    #[schema(required = true)]
    pub missing_since: Option<String>,
    /// By resource.
    pub resources: BTreeMap<String, ResourceView>,
}

/// The last good value of one resource, how old it is, and what was asked.
///
/// Without a reading yet, what tells of one is null.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ResourceView {
    /// Name → value, as the provider's definition maps them.
    #[schema(required = true, example = json!({"temperature_c": 20.5}))]
    pub values: Option<Map<String, Value>>,
    /// When the source saw it, by the source's clock; null where it does not tell.
    #[schema(required = true, example = "2026-03-01T08:29:30.000Z")]
    pub observed_at: Option<String>,
    /// When a good answer last came.
    #[schema(required = true, example = "2026-03-01T08:30:00.000Z")]
    pub fetched_at: Option<String>,
    /// How old the values are: now minus `observed_at`, or minus `fetched_at` where that is null, ms.
    #[schema(required = true, example = 42_345)]
    pub age_ms: Option<i64>,
    /// How long ago a good answer last came: now minus `fetched_at`, ms.
    #[schema(required = true, example = 12_345)]
    pub fetched_ago_ms: Option<i64>,
    /// Whether both ages are as they should be: that of the answer at most the interval and its grace; that of the
    /// values, where the source tells a time, at most the definition's `stale_after`, or else six intervals and the
    /// source's usual pace.
    pub fresh: bool,
    /// Whether the provider says that it can reach the device.
    #[schema(required = true)]
    pub online: Option<bool>,
    /// How often it is asked to be refreshed.
    #[schema(example = "30s")]
    pub interval: String,
    /// How much it matters.
    pub priority: Priority,
    /// Whether it is scheduled.
    pub state: JobState,
}

/// Some of a tenant's devices.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Page {
    /// In order of their ids.
    pub devices: Vec<DeviceView>,
    /// The `after` that continues the list; null at its end.
    #[schema(required = true)]
    pub next: Option<DeviceId>,
    /// If the list was read at a replica of Postgres: at most how far it was behind, ms. Devices added or removed since
    /// may be missing; values are as new as ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 40)]
    pub replica_lag_ms: Option<u64>,
}

/// One device, if the tenant has it.
pub async fn device(app: &App, tenant: TenantId, id: DeviceId) -> Result<Option<DeviceView>, ReadError> {
    Ok(views(app, tenant, &[id]).await?.pop())
}

/// A page of the tenant's devices: their ids from Postgres or a replica, their values from the cache.
pub async fn devices(app: &App, tenant: TenantId, filter: &Filter) -> Result<Page, ReadError> {
    // One more than the limit shows whether there is a next page.
    let more = Filter { limit: filter.limit + 1, ..filter.clone() };
    let more = &more;
    let Read { answer: mut ids, replica_lag_ms } =
        app.reads.ask(|pool| async move { view::page(&pool, tenant, more).await }).await?;
    let has_next = ids.len() as i64 > filter.limit;
    ids.truncate(usize::try_from(filter.limit).unwrap_or(0));
    let next = ids.last().copied().filter(|_| has_next);
    Ok(Page { devices: views(app, tenant, &ids).await?, next, replica_lag_ms })
}

/// Writes devices from Postgres to the cache, after a change of a device or its jobs.
///
/// A failing Redis is not an error: readers go to Postgres.
pub async fn refresh(app: &App, tenant: TenantId, ids: &[DeviceId]) -> Result<(), ReadError> {
    app.load_devices(Some(tenant), ids).await?;
    Ok(())
}

/// A device, from either source.
struct Device {
    meta: DeviceMeta,
    latest: HashMap<String, Latest>,
}

async fn views(app: &App, tenant: TenantId, ids: &[DeviceId]) -> Result<Vec<DeviceView>, ReadError> {
    let mut found = cached(app, tenant, ids).await;
    let missing: Vec<DeviceId> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
    if !missing.is_empty() {
        let snapshots = app.load_devices(Some(tenant), &missing).await?;
        found.extend(snapshots.into_iter().map(|(id, snapshot)| (id, Device::from(snapshot))));
    }
    let now = app.clock.now();
    Ok(ids.iter().filter_map(|id| Some(found.remove(id)?.view(app, *id, now))).collect())
}

/// The devices that the cache has in full; none if Redis is away.
async fn cached(app: &App, tenant: TenantId, ids: &[DeviceId]) -> HashMap<DeviceId, Device> {
    let found = match timeout(CACHE_TIMEOUT, app.cache.get(tenant, ids)).await {
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
    ids.iter().copied().zip(found).filter_map(|(id, fields)| Some((id, Device::read(fields)?))).collect()
}

impl Device {
    /// None if the cache lacks the device's metadata or an older version of Paceline wrote it.
    fn read(mut fields: HashMap<String, String>) -> Option<Self> {
        let meta: DeviceMeta = serde_json::from_str(&fields.remove(META)?).ok()?;
        let latest = fields.into_iter().map(|(name, json)| Some((name, serde_json::from_str(&json).ok()?)));
        Some(Self { meta, latest: latest.collect::<Option<_>>()? })
    }

    fn view(mut self, app: &App, id: DeviceId, now: UnixMs) -> DeviceView {
        let resources = self.meta.jobs.into_iter().map(|(resource, job)| {
            let view = resource_view(app, &job, self.latest.remove(&resource), now);
            (resource, view)
        });
        DeviceView {
            id,
            resources: resources.collect(),
            name: self.meta.name,
            external_id: self.meta.external_id,
            provider: self.meta.provider,
            connection: self.meta.connection,
            group: Some(self.meta.group).filter(|group| !group.is_empty()),
            model: Some(self.meta.model).filter(|model| !model.is_empty()),
            missing_since: self.meta.missing_since.map(|at| at.to_string()),
        }
    }
}

impl From<DeviceSnapshot> for Device {
    fn from(snapshot: DeviceSnapshot) -> Self {
        let latest = snapshot.latest.into_iter().map(|(resource, (_, latest))| (resource, latest));
        Self { latest: latest.collect(), meta: snapshot.meta }
    }
}

fn resource_view(app: &App, job: &JobMeta, latest: Option<Latest>, now: UnixMs) -> ResourceView {
    let interval = Interval::from_ms(job.interval_ms).unwrap_or(Interval::MAX);
    let grace_ms = app.grace_ms(interval);
    ResourceView {
        observed_at: latest.as_ref().and_then(|latest| latest.observed_at).map(|at| at.to_string()),
        fetched_at: latest.as_ref().map(|latest| latest.fetched_at.to_string()),
        online: latest.as_ref().map(|latest| latest.online),
        age_ms: latest.as_ref().map(|latest| latest.age_ms(now)),
        fetched_ago_ms: latest.as_ref().map(|latest| latest.fetched_ago_ms(now)),
        fresh: latest.as_ref().is_some_and(|latest| latest.is_fresh(interval, grace_ms, now)),
        values: latest.map(|latest| latest.values),
        interval: interval.to_string(),
        priority: job.priority,
        state: job.state,
    }
}
