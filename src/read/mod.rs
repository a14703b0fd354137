//! The read path: the cache, else Postgres, which refills the cache. Either server may be away.

mod device_view;

pub use crate::record::select::{Filter, Position, Sort, Span};
pub use device_view::{DeviceView, ResourceView};

use crate::app::{App, RefillFailed};
use crate::explain::{self, ForecastFailed, Plans, Turns};
use crate::postgres::{PostgresError, Read};
use crate::record::select::{self, Freshness};
use crate::words::{DeviceId, TenantId};

/// Why a read failed: the cache had no answer and Postgres is away.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The plan of a provider.
    #[error(transparent)]
    Forecast(#[from] ForecastFailed),
    /// Postgres, when devices were read for several readers at once.
    #[error(transparent)]
    Refill(#[from] RefillFailed),
}

/// What a device's view tells beside values and ages.
#[derive(Clone, Copy, Default)]
pub struct With<'a> {
    /// What the values are.
    pub meta: bool,
    /// When each resource has its next turn.
    pub turns: Option<&'a Plans>,
}

/// Some of a tenant's devices.
#[derive(Debug)]
pub struct Page {
    /// In the order asked for.
    pub devices: Vec<DeviceView>,
    /// Where the next page begins; none at the end of the list.
    pub next: Option<Position>,
    /// If the list was read at a replica of Postgres: at most how far it was behind, ms.
    pub replica_lag_ms: Option<u64>,
}

/// One device, if the tenant has it.
pub async fn device(
    app: &App,
    tenant: TenantId,
    id: DeviceId,
    with: With<'_>,
) -> Result<Option<DeviceView>, ReadError> {
    Ok(some(app, tenant, &[id], with).await?.pop())
}

/// A page of the tenant's devices: their ids from Postgres or a replica, their values from the cache.
pub async fn devices(
    app: &App,
    tenant: TenantId,
    filter: &Filter,
    span: &Span,
    with: With<'_>,
) -> Result<Page, ReadError> {
    // One more than the limit shows whether there is a next page.
    let more = &Span { limit: span.limit + 1, ..span.clone() };
    let fresh = &app.settings.fresh;
    let fresh = Freshness {
        now: app.clock.now(),
        grace_share: fresh.grace_share,
        grace_min_ms: fresh.grace_min.as_ms() as f64,
    };
    let Read { answer: mut found, replica_lag_ms } =
        app.reads.ask(|pool| async move { select::page(&pool, tenant, filter, more, fresh).await }).await?;
    let has_next = found.len() as i64 > span.limit;
    found.truncate(usize::try_from(span.limit).unwrap_or(0));
    let ids: Vec<_> = found.iter().map(|position| position.id).collect();
    let next = found.pop().filter(|_| has_next);
    Ok(Page { devices: some(app, tenant, &ids, with).await?, next, replica_lag_ms })
}

/// Writes devices from Postgres to the cache, after a change of a device or its jobs.
///
/// A failing Redis is not an error: readers go to Postgres.
pub async fn refresh(app: &App, tenant: TenantId, ids: &[DeviceId]) -> Result<(), ReadError> {
    app.load_devices(Some(tenant), ids).await?;
    Ok(())
}

/// Those of these devices that the tenant has, in the same order.
pub async fn some(
    app: &App,
    tenant: TenantId,
    ids: &[DeviceId],
    with: With<'_>,
) -> Result<Vec<DeviceView>, ReadError> {
    let mut found = app.cached_devices(tenant, ids).await;
    let missing: Vec<DeviceId> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
    found.extend(app.refill_devices(tenant, &missing).await?);
    let mut turns = match with.turns {
        Some(plans) => explain::turns(app, plans, tenant, ids).await?,
        None => Turns::new(),
    };
    let now = app.clock.now();
    let view = |id: &DeviceId| Some(DeviceView::of(found.remove(id)?, app, *id, now, with, &mut turns));
    Ok(ids.iter().filter_map(view).collect())
}
