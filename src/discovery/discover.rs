//! The cloud's own list of a connection's devices: asked for under all quotas, as any call is, and what it changes is
//! kept. A list that fails, breaks off or is not understood changes nothing.

use crate::adhoc::{AdHocCall, AdHocEnd, AdHocError, KEEP_MS, Whose};
use crate::app::App;
use crate::fetch::{Listing, Trace};
use crate::incident::Health;
use crate::journey::health_of;
use crate::keep;
use crate::postgres::PostgresError;
use crate::preference::devices::TenantConnection;
use crate::preference::discovered::{self, Changes, DeviceList};
use crate::preference::discovery_claim::{self, Claim};
use crate::provider::{DISCOVERY, Provider};
use crate::retry::Retry;
use crate::take::ReserveRequest;
use crate::words::{
    ConnectionId, DeviceId, Interval, ListedDevice, Outcome, Priority, ResourceName, TenantId, lane,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest wait after the first list that failed. It doubles with each in a row, up to `discovery.every`.
const RETRY: Duration = Duration::from_secs(60 * 60);

/// Whose devices to list.
#[derive(Debug, Clone)]
pub struct DiscoverRequest {
    /// The cloud to ask.
    pub provider: Arc<Provider>,
    /// The tenant that the connection is of.
    pub tenant: TenantId,
    /// The account whose list is asked for.
    pub connection: ConnectionId,
    /// How long to wait until the quotas allow the calls.
    pub timeout: Duration,
    /// Ask and compare, and change nothing.
    pub dry_run: bool,
}

/// Why there is no list. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The provider's definition has no `[discovery]`.
    #[error(
        "{0} does not say how devices are listed: add them by `paceline device add`, or [discovery] to its file"
    )]
    Undeclared(String),
    /// A list that was started later was stored first.
    #[error("a later list of the connection's devices was kept meanwhile; this one changed nothing")]
    Superseded,
    /// The cloud's answer is no list.
    #[error("the cloud gave no list: {0}; the devices are what they were")]
    NoList(String),
    /// The request for the list was not sent.
    #[error(transparent)]
    NotSent(#[from] AdHocError),
    /// Postgres failed.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// Asks for the list as soon as every quota lets it, and keeps what it changes. Once it is asked for, this finishes
/// even if the caller goes away.
pub async fn discover(app: &App, request: DiscoverRequest) -> Result<Changes, DiscoverError> {
    discover_claimed(app, request, None).await
}

/// The same, of a list that was claimed already.
pub(super) async fn discover_claimed(
    app: &App,
    request: DiscoverRequest,
    claim: Option<Claim>,
) -> Result<Changes, DiscoverError> {
    let listed =
        app.run_detached(|app, abandoned| async move { run(&app, &request, claim, &abandoned).await }).await;
    listed.map_err(AdHocError::from)?
}

async fn run(
    app: &App,
    request: &DiscoverRequest,
    claim: Option<Claim>,
    abandoned: &CancellationToken,
) -> Result<Changes, DiscoverError> {
    let pool = &app.pool;
    let asked_at = discovered::now(pool).await?;
    let claim = match claim {
        None if !request.dry_run => discovery_claim::claim(pool, request.tenant, request.connection).await?,
        claim => claim,
    };
    let trial = list(app, request, abandoned, false).await;
    let (listed, id_prefix) =
        match trial.map(|ListTrial { listing, .. }| (listing.devices, listing.id_prefix)) {
            Ok((Ok(listed), id_prefix)) => (listed, id_prefix),
            // The account's own request failed: noted like a list that failed, so that it is not tried at every look.
            Err(error @ DiscoverError::NotSent(AdHocError::Bootstrap(_))) => {
                note_failure(app, claim, &error.to_string()).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
            Ok((Err(outcome), _)) => {
                let why = outcome.describe();
                note_failure(app, claim, &why).await?;
                return Err(DiscoverError::NoList(why));
            }
        };
    let account = TenantConnection {
        tenant: request.tenant,
        connection: request.connection,
        provider: request.provider.name.clone(),
    };
    let devices_max = app.settings.tenant.devices_max;
    let list = DeviceList { devices: &listed, id_prefix: &id_prefix, asked_at, devices_max };
    let Some(claim) = claim else {
        return Ok(discovered::preview(pool, &account, list).await?);
    };
    let jobs = |one: &ListedDevice| jobs_of(&request.provider, one);
    let provider = request.provider.clone();
    let fallback = move |resource: &str| Some(provider.resource(resource)?.interval_default);
    let kept = discovered::apply(pool, &account, claim, list, &jobs, &fallback).await?;
    let (changes, touched) = kept.ok_or(DiscoverError::Superseded)?;
    tell(app, request.tenant, &touched).await;
    Ok(changes)
}

async fn note_failure(app: &App, claim: Option<Claim>, why: &str) -> Result<(), DiscoverError> {
    let Some(claim) = claim else { return Ok(()) };
    let every = Duration::from_millis(app.settings.discovery.every.as_ms());
    let retry = Retry { base: RETRY.min(every), cap: every }.jittered(claim.failures, &mut rand::rng());
    Ok(discovery_claim::failed(&app.pool, claim, why, retry).await?)
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
    if let Err(error) = keep::drain(app).await {
        tracing::warn!(%error, "devices were found, and the schedule learns of them later");
    }
    let devices = touched.iter().map(|device| (tenant, *device));
    if let Err(error) = app.cache.forget(devices).await {
        tracing::debug!(devices = touched.len(), %error, "cached devices not renewed");
    }
}

/// What a list that changes nothing came to.
#[derive(Debug)]
pub struct ListTrial {
    /// What was sent and what came back.
    pub trace: Trace,
    /// The list, or why there is none.
    pub listing: Listing,
    /// From the request to the end of the list.
    pub took: Duration,
}

/// Asks for the list as soon as every quota lets it, and changes nothing. Once it is asked for, the call is settled
/// even if the caller goes away.
pub async fn try_list(app: &App, request: DiscoverRequest) -> Result<ListTrial, DiscoverError> {
    let listed =
        app.run_detached(|app, abandoned| async move { list(&app, &request, &abandoned, true).await });
    listed.await.map_err(AdHocError::from)?
}

async fn list(
    app: &App,
    request: &DiscoverRequest,
    abandoned: &CancellationToken,
    tests_refused: bool,
) -> Result<ListTrial, DiscoverError> {
    let provider = &request.provider;
    let Some(declared) = provider.call(DISCOVERY.as_str()) else {
        return Err(DiscoverError::Undeclared(provider.name.to_string()));
    };
    let (lane, cost) = (lane(request.connection, ""), declared.cost_of(0));
    let (resource, devices) = (DISCOVERY.clone(), Vec::new());
    let reserve = ReserveRequest { lane, resource, cost, devices, keep_ms: KEEP_MS, probes: true };
    let whose = Whose { tenant: request.tenant, connection: request.connection, tests_refused };
    let call = AdHocCall::reserve(app, provider, whose, &reserve, request.timeout, abandoned).await?;
    let asked_at = app.clock.now();
    let sent = Instant::now();
    let (listing, trace) = call.fetcher().list_traced(call.connection.clone(), asked_at).await;
    let took = sent.elapsed();
    call.learn(&listing.bootstrap_values, asked_at).await;
    let health = match &listing.devices {
        Ok(_) => Some(Health::Well { after_failure: true }),
        Err(outcome) => health_of(std::iter::once(outcome), true),
    };
    let is_unauthorized = matches!(listing.devices, Err(Outcome::Unauthorized { .. }));
    call.settle(AdHocEnd { end: listing.end, holds: listing.holds.clone(), is_unauthorized, health }).await;
    Ok(ListTrial { trace, listing, took })
}
