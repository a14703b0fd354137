//! One real ad-hoc call, to see what becomes of it. It is granted by the same quotas as every other call and settled
//! like one, so that a trial breaks no limit and what it learns (a hold, an error) counts; it stores no reading.

mod login;

pub use login::{LoginOutcome, LoginRequest, LoginTrial, try_login};

use crate::adhoc::{AdHocCall, AdHocEnd, AdHocError, KEEP_MS, Whose};
use crate::app::App;
use crate::fetch::{Call, CallResult, Target, Trace};
use crate::journey::health_of;
use crate::postgres::PostgresError;
use crate::preference::inventory;
use crate::provider::{Provider, Resource};
use crate::take::ReserveRequest;
use crate::token::TokenError;
use crate::words::{
    ConnectionId, DeviceId, End, JobId, Outcome, QuotaInputs, ResourceName, Scope, TenantId, lane,
};
use std::collections::HashMap;
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
    /// For which of its devices, by number or external id; its first when empty.
    pub devices: Vec<String>,
    /// What of it.
    pub resource: ResourceName,
    /// How long to wait for the quotas.
    pub timeout: Duration,
}

/// What became of it.
#[derive(Debug)]
pub struct Trial {
    /// The external ids of the devices that the call was for.
    pub devices: Vec<String>,
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

impl Trial {
    /// What the call came to for each device, in order.
    pub fn outcomes(&self) -> impl Iterator<Item = (&str, Option<&Outcome>)> {
        (1..).zip(&self.devices).map(|(job, device)| {
            let found = self.answer.outcomes.iter().find(|(of, _)| *of == JobId(job));
            (device.as_str(), found.map(|(_, outcome)| outcome))
        })
    }
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
    /// More devices than one call serves.
    #[error("one call for {resource} serves {places} device(s), not {asked}: name fewer by --device")]
    TooMany {
        /// The resource.
        resource: String,
        /// How many it serves.
        places: u32,
        /// How many were named.
        asked: usize,
    },
    /// Devices that are never in one call.
    #[error(
        "{0:?} and {1:?} are in different groups, which no call serves together: try one group at a time"
    )]
    Groups(String, String),
    /// It could not be sent.
    #[error(transparent)]
    NotSent(#[from] AdHocError),
    /// The provider has no requests for tokens.
    #[error(
        "{0} declares no login: its calls carry the connection's secrets, and a call shows whether they are accepted"
    )]
    NoTokens(String),
    /// The request for a token may not be sent yet.
    #[error("nothing was sent: {0}")]
    TokenNotYet(String),
    /// The token could not be stored.
    #[error(transparent)]
    Token(#[from] TokenError),
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
    let targets = targets(app, wanted).await?;
    let resource = provider.resource(wanted.resource.as_str());
    let places = resource.map_or(1, Resource::places);
    if targets.len() > places as usize {
        let (resource, asked) = (wanted.resource.to_string(), targets.len());
        return Err(TrialError::TooMany { resource, places, asked });
    }
    let first = targets.first().ok_or(TrialError::NoDevice)?;
    if let Some(other) = targets.iter().find(|target| target.group != first.group) {
        return Err(TrialError::Groups(first.external_id.clone(), other.external_id.clone()));
    }
    let lane = lane(wanted.connection, &first.group);
    let full = resource.map_or(0, |resource| resource.cost_of(targets.len() as u32));
    let request = ReserveRequest {
        lane,
        resource: wanted.resource.clone(),
        cost: full,
        devices: targets.iter().map(|target| target.device).collect(),
        keep_ms: KEEP_MS,
        probes: true,
    };
    let whose = Whose { tenant: wanted.tenant, connection: wanted.connection, tests_refused: true };
    let adhoc = AdHocCall::reserve(app, provider, whose, &request, wanted.timeout, abandoned).await?;
    let connection = adhoc.connection.clone();
    let call = Call { connection, resource: wanted.resource.clone(), targets };
    let sent = Instant::now();
    let asked_at = app.clock.now();
    let (answer, trace) = adhoc.fetcher().fetch_traced(&call, asked_at).await;
    adhoc.learn(&answer.bootstrap_values, asked_at).await;
    let took = sent.elapsed();
    let is_unauthorized =
        answer.outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Unauthorized { .. }));
    let health = health_of(answer.outcomes.iter().map(|(_, outcome)| outcome), true);
    adhoc.settle(AdHocEnd { end: answer.end, holds: answer.holds.clone(), is_unauthorized, health }).await;
    let cost = match answer.end {
        End::Unsent => 0,
        _ => full,
    };
    let inputs = provider.quota_inputs(&call.connection.params, call.connection.devices);
    let devices = call.targets.iter().map(|target| target.external_id.clone()).collect();
    Ok(Trial { devices, trace, answer, took, cost, inputs })
}

/// Devices in one page.
const PAGE: i64 = 500;

/// The devices that are asked for, each once. One that was not added yet has no number.
async fn targets(app: &App, wanted: &TrialRequest) -> Result<Vec<Target>, TrialError> {
    let mut found = HashMap::new();
    let mut after = DeviceId(0);
    loop {
        let page = inventory::page(&app.pool, wanted.tenant, Some(wanted.connection), after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.device;
        for row in page {
            if wanted.devices.is_empty() {
                return Ok(vec![target(1, row.device, row.external_id, row.group)]);
            }
            let is_asked = |asked: &&String| row.external_id == **asked || row.device.to_string() == **asked;
            if let Some(asked) = wanted.devices.iter().find(is_asked) {
                found.insert(asked.clone(), (row.device, row.external_id, row.group));
            }
        }
        if found.len() == wanted.devices.len() {
            break;
        }
    }
    if wanted.devices.is_empty() {
        return Err(TrialError::NoDevice);
    }
    let mut own = wanted.provider.quotas().filter(|quota| quota.counts(&wanted.resource));
    let is_limited = own.any(|quota| matches!(quota.scope, Scope::Group | Scope::Device));
    let mut targets: Vec<Target> = Vec::new();
    for asked in &wanted.devices {
        let (device, external_id, group) = match found.remove(asked) {
            Some(known) => known,
            None if targets.iter().any(|target| target.external_id == *asked) => continue,
            None if is_limited => return Err(TrialError::Stranger(asked.clone())),
            None => (DeviceId(0), asked.clone(), String::new()),
        };
        targets.push(target(targets.len() as i64 + 1, device, external_id, group));
    }
    Ok(targets)
}

fn target(job: i64, device: DeviceId, external_id: String, group: String) -> Target {
    Target { job: JobId(job), device, external_id, group, validator: None }
}
