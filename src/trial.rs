//! One real ad-hoc call, to see what becomes of it. It is granted by the same quotas as every other call and settled
//! like one, so that a trial breaks no limit and what it learns (a hold, an error) counts; it stores no reading.

use crate::adhoc::{AdHocCall, AdHocError, KEEP_MS};
use crate::app::App;
use crate::fetch::{Call, CallResult, Target, Trace};
use crate::postgres::PostgresError;
use crate::preference::inventory;
use crate::provider::Provider;
use crate::take::ReserveRequest;
use crate::words::{
    ConnectionId, DeviceId, End, JobId, Outcome, QuotaInputs, ResourceName, Scope, TenantId, lane,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What to try.
#[derive(Debug)]
pub struct TrialRequest {
    /// Where.
    pub provider: Arc<Provider>,
    /// Whose.
    pub tenant: TenantId,
    /// With which account.
    pub connection: ConnectionId,
    /// For which of its devices: its number, or its external id; its first when absent.
    pub device: Option<String>,
    /// What of it.
    pub resource: ResourceName,
    /// How long to wait for the quotas.
    pub timeout: Duration,
}

/// What became of it.
#[derive(Debug)]
pub struct Trial {
    /// For which device.
    pub external_id: String,
    /// What went out and came back.
    pub trace: Trace,
    /// What it comes to.
    pub answer: CallResult,
    /// From the request to the whole answer.
    pub took: Duration,
    /// What it cost.
    pub cost: u32,
    /// What the connection's limits depend on.
    pub inputs: QuotaInputs,
}

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// It has no device at all.
    #[error(
        "the connection has no device yet: `paceline device add` adds one, or name what to ask for by --device"
    )]
    NoDevice,
    /// A limit of a home's or a device's own cannot be kept for a stranger.
    #[error(
        "{0:?} is no device of the connection, and the cloud limits each home or device: `paceline device add` it \
         first"
    )]
    Stranger(String),
    /// It could not be sent.
    #[error(transparent)]
    NotSent(#[from] AdHocError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// Makes the call, as soon as every quota lets it. Once it is sent, it is settled even if the caller goes away.
pub async fn run(app: &App, request: TrialRequest) -> Result<Trial, TrialError> {
    let sent = app.run_detached(|app, abandoned| async move { send(&app, &request, &abandoned).await }).await;
    sent.map_err(AdHocError::from)?
}

async fn send(app: &App, wanted: &TrialRequest, abandoned: &CancellationToken) -> Result<Trial, TrialError> {
    let provider = &wanted.provider;
    let target = target(app, wanted).await?;
    let lane = lane(wanted.connection, &target.group);
    let full = provider.resource(wanted.resource.as_str()).map_or(0, |resource| resource.cost_of(1));
    let request = ReserveRequest {
        lane,
        resource: wanted.resource.clone(),
        cost: full,
        devices: vec![target.device],
        keep_ms: KEEP_MS,
    };
    let whose = (wanted.tenant, wanted.connection);
    let adhoc = AdHocCall::reserve(app, provider, whose, &request, wanted.timeout, abandoned).await?;
    let connection = adhoc.connection.clone();
    let call = Call { connection, resource: wanted.resource.clone(), targets: vec![target.clone()] };
    let sent = Instant::now();
    let asked_at = app.clock.now();
    let (answer, trace) = adhoc.fetcher().fetch_traced(&call, asked_at).await;
    adhoc.learn(&answer.bootstrap_values, asked_at).await;
    let took = sent.elapsed();
    let is_unauthorized =
        answer.outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Unauthorized { .. }));
    adhoc.settle(answer.end, answer.holds.clone(), is_unauthorized).await;
    let cost = match answer.end {
        End::Unsent => 0,
        _ => full,
    };
    let inputs = provider.quota_inputs(&call.connection.params, call.connection.devices);
    Ok(Trial { external_id: target.external_id, trace, answer, took, cost, inputs })
}

/// Devices in one page.
const PAGE: i64 = 500;

/// The device that is asked for. One that was not added yet has no number.
async fn target(app: &App, wanted: &TrialRequest) -> Result<Target, TrialError> {
    let mut after = DeviceId(0);
    loop {
        let page = inventory::page(&app.pool, wanted.tenant, Some(wanted.connection), after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.device;
        let found = page.into_iter().find(|row| {
            wanted
                .device
                .as_ref()
                .is_none_or(|asked| row.external_id == *asked || row.device.to_string() == *asked)
        });
        if let Some(row) = found {
            return Ok(Target {
                job: JobId(0),
                device: row.device,
                external_id: row.external_id,
                group: row.group,
                validator: None,
            });
        }
    }
    let stranger = wanted.device.clone().ok_or(TrialError::NoDevice)?;
    let mut own = wanted.provider.quotas().filter(|quota| quota.counts(&wanted.resource));
    if own.any(|quota| matches!(quota.scope, Scope::Group | Scope::Device)) {
        return Err(TrialError::Stranger(stranger));
    }
    Ok(Target {
        job: JobId(0),
        device: DeviceId(0),
        external_id: stranger,
        group: String::new(),
        validator: None,
    })
}
