//! The cloud's own list of a connection's devices: asked for under all quotas, as any call is, and what it changes is
//! kept. A list that fails, breaks off or is not understood changes nothing.

use super::{Errand, ErrandError, KeepError, drain};
use crate::app::App;
use crate::cache::CARD;
use crate::postgres::PostgresError;
use crate::preference::devices::TenantConnection;
use crate::preference::discovered::{self, Changes};
use crate::provider::{DISCOVERY, Provider};
use crate::take::ReserveRequest;
use crate::words::{
    ConnectionId, DeviceId, Interval, ListedDevice, Outcome, Priority, ResourceName, TenantId, lane,
};
use std::sync::Arc;
use std::time::Duration;

/// Whose devices to list.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where.
    pub provider: &'a Arc<Provider>,
    /// Whose.
    pub tenant: TenantId,
    /// Of which account.
    pub connection: ConnectionId,
    /// How long to wait for the quotas.
    pub patience: Duration,
    /// Only tell what would change.
    pub dry_run: bool,
}

/// Why there is no list. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// Its definition says nothing of it.
    #[error(
        "{0} does not say how devices are listed: add them by `paceline device add`, or [discovery] to its file"
    )]
    Undeclared(String),
    /// The cloud's answer is no list.
    #[error("the cloud gave no list: {0}; the devices are what they were")]
    NoList(String),
    /// It could not be asked for.
    #[error(transparent)]
    Errand(#[from] ErrandError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// Asks for the list as soon as every quota lets it, and keeps what it changes.
pub async fn discover(app: &App, wanted: Wanted<'_>) -> Result<Changes, DiscoverError> {
    let asked_at = discovered::now(&app.pool).await?;
    let listed = match list(app, &wanted).await {
        Ok(Ok(listed)) => listed,
        // What it takes to ask could not be learned: not asked again at each turn.
        Err(error @ DiscoverError::Errand(ErrandError::Unknown(_))) => {
            if !wanted.dry_run {
                let why = error.to_string();
                discovered::failed(&app.pool, wanted.tenant, wanted.connection, &why).await?;
            }
            return Err(error);
        }
        Err(error) => return Err(error),
        Ok(Err(outcome)) => {
            let why = outcome.told();
            if !wanted.dry_run {
                discovered::failed(&app.pool, wanted.tenant, wanted.connection, &why).await?;
            }
            return Err(DiscoverError::NoList(why));
        }
    };
    let account = TenantConnection {
        tenant: wanted.tenant,
        connection: wanted.connection,
        provider: wanted.provider.name.clone(),
    };
    if wanted.dry_run {
        return Ok(discovered::preview(&app.pool, &account, &listed, asked_at).await?);
    }
    let jobs = |one: &ListedDevice| jobs_of(wanted.provider, one);
    let (changes, touched) = discovered::apply(&app.pool, &account, &listed, asked_at, &jobs).await?;
    tell(app, wanted.tenant, &touched).await;
    Ok(changes)
}

/// What a new device gets: the resources that the list names, or else those by default.
fn jobs_of(provider: &Provider, listed: &ListedDevice) -> Vec<(ResourceName, Interval, Priority)> {
    let Some(names) = &listed.resources else { return provider.default_jobs() };
    let job = |name: &ResourceName| {
        let resource = provider.resource(name.as_str())?;
        Some((name.clone(), resource.interval_default, Priority::default()))
    };
    names.iter().filter_map(job).collect()
}

/// Tells the schedule and the cache. What does not work now is in the outbox, or shown as it was until it is next
/// changed.
async fn tell(app: &App, tenant: TenantId, touched: &[DeviceId]) {
    if let Err(error) = drain(app).await {
        tracing::warn!(%error, "the schedule hears later of devices that were found");
    }
    for device in touched {
        if let Err(error) = app.cache.forget(tenant, *device, CARD).await {
            tracing::debug!(device = device.0, %error, "cached device not renewed");
        }
    }
}

async fn list(app: &App, wanted: &Wanted<'_>) -> Result<Result<Vec<ListedDevice>, Outcome>, DiscoverError> {
    let provider = wanted.provider;
    let Some(call) = provider.call(DISCOVERY.as_str()) else {
        return Err(DiscoverError::Undeclared(provider.name.to_string()));
    };
    let (lane, cost) = (lane(wanted.connection, ""), call.cost_of(0));
    let request = ReserveRequest { lane, resource: DISCOVERY.clone(), cost, devices: Vec::new() };
    let whose = (wanted.tenant, wanted.connection);
    let errand = Errand::begin(app, provider, whose, &request, wanted.patience).await?;
    let asked_at = app.clock.now();
    let listing = errand.fetcher.list(errand.connection.clone(), asked_at, None).await;
    errand.learn(&listing.learned, asked_at).await;
    let is_unauthorized = matches!(listing.devices, Err(Outcome::Unauthorized { .. }));
    errand.end(listing.end, listing.holds, is_unauthorized).await;
    Ok(listing.devices)
}

/// Connections whose list is asked for in one turn: others want the lock, too.
const A_TURN: i64 = 20;
/// After a list that failed.
const AGAIN: Duration = Duration::from_secs(60 * 60);
/// How long one connection's quotas are waited for: the others are waiting, too, and its turn comes again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks for the lists that are due, one after the other. Returns how many there were.
pub async fn discover_due(app: &App) -> Result<usize, KeepError> {
    let every = Duration::from_millis(app.settings.discovery.every.as_ms());
    let lists = app.registry.iter().filter(|provider| provider.definition.discovery.is_some());
    let names: Vec<String> = lists.map(|provider| provider.name.to_string()).collect();
    if names.is_empty() || !app.settings.discovery.automatic {
        return Ok(0);
    }
    let _held = crate::postgres::lock(&app.pool, "paceline discovery").await?;
    let due = discovered::due(&app.pool, &names, every, AGAIN, A_TURN).await?;
    for one in &due {
        let Some(provider) = app.registry.get(&one.provider) else { continue };
        let (tenant, connection) = (one.tenant, one.connection);
        let wanted = Wanted { provider, tenant, connection, patience: PATIENCE, dry_run: false };
        match discover(app, wanted).await {
            Ok(changes) => tracing::info!(
                provider = %provider.name,
                connection = connection.0,
                listed = changes.listed,
                new = changes.new.len(),
                missing = changes.missing.len(),
                "devices listed"
            ),
            Err(error) => {
                tracing::warn!(provider = %provider.name, connection = connection.0, %error, "devices not listed");
            }
        }
    }
    Ok(due.len())
}
