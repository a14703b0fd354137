//! The write path, as named steps: take → resolve → pace → fetch → record → cache → settle.
//!
//! [`Journey::pull`] takes calls and starts them; [`Journey::land`] finishes those that ended. Production loops
//! the two, tests step them.

mod batch;
mod call;
mod decide;
mod incident;
mod land;
mod pull;
mod run;
mod slots;
mod wake;

pub use decide::{Decision, Policy, decide, past, refused};
pub use incident::health_of;
pub use land::Landed;
pub use pull::Step;
pub use run::{listen, run};
use slots::{Slot, Slots};
use wake::Wake;

use crate::app::{App, ProviderClient};
use crate::authorise::Authoriser;
use crate::fetch::{Rejected, Validators};
use crate::pace::Gate;
use crate::postgres::PostgresError;
use crate::provider::{LoadError, Provider};
use crate::redis::RedisError;
use crate::take::{Grant, GrantedJob, Verdict};
use crate::words::{ConnectionId, DeviceId, End, Hold, JobId, Outcome, Record, TenantId, UnixMs};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Syncs the jobs of one provider.
pub struct Journey {
    app: App,
    provider: Arc<Provider>,
    client: Arc<ProviderClient>,
    authoriser: Arc<Authoriser>,
    gate: Arc<Gate>,
    slots: Slots,
    calls: TaskTracker,
    ended_in: mpsc::UnboundedSender<Ended>,
    ended_out: Mutex<mpsc::UnboundedReceiver<Ended>>,
    /// When to pull again.
    wake: Wake,
    /// Once cancelled, no further call is sent.
    stop: CancellationToken,
    /// Once cancelled, no call is waited for: those in flight end as lost.
    cut: CancellationToken,
}

/// Why a step failed: a server is away.
#[derive(Debug, thiserror::Error)]
pub enum JourneyError {
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// A job of a granted call, as Postgres has it.
#[derive(Debug, Clone)]
struct Wanted {
    tenant: TenantId,
    device: DeviceId,
    granted: GrantedJob,
    failing: bool,
}

/// A call that ended and is not settled yet.
struct Ended {
    grant: Grant,
    /// When it was sent, by Redis's clock; `None` if it was not.
    sent_at: Option<UnixMs>,
    /// When its response was complete.
    fetched_at: UnixMs,
    /// How it ended, as far as quotas are concerned.
    end: End,
    wanted: HashMap<JobId, Wanted>,
    /// Version of the secrets that the call carried: a refusal counts only against these.
    secrets_version: i64,
    /// Whether the connection's credentials were refused before: the call probes it.
    was_refused: Option<ConnectionId>,
    /// Whether it was not sent because the provider refused the connection a token.
    token_refused: bool,
    /// Values and times that were left out of records.
    rejected: Vec<Rejected>,
    outcomes: Vec<(JobId, Outcome)>,
    holds: Vec<(Hold, Option<DeviceId>)>,
    /// Records of devices that the call did not ask for.
    unsolicited: Vec<Record>,
    /// For the next conditional request.
    validators: Validators,
    /// Jobs of the grant that the call did not serve.
    unserved: Vec<(JobId, Verdict)>,
    /// Held until the call is settled: while nothing can be recorded, no new calls start, which bounds memory.
    _slot: Option<Slot>,
}

impl Ended {
    /// Whose call it was.
    fn connection(&self) -> Option<ConnectionId> {
        self.grant.lane.split('.').next()?.parse().ok()
    }
}

impl Journey {
    /// The journey of a provider's jobs.
    pub fn new(app: &App, provider: &Arc<Provider>, stop: CancellationToken) -> Result<Self, LoadError> {
        let (ended_in, ended_out) = mpsc::unbounded_channel();
        Ok(Self {
            client: app.client(provider)?,
            authoriser: Arc::new(Authoriser::new(app, provider)?),
            gate: Arc::new(Gate::new(provider)),
            slots: Slots::new(provider.definition.http.in_flight),
            calls: TaskTracker::new(),
            ended_in,
            ended_out: Mutex::new(ended_out),
            app: app.clone(),
            wake: Wake::default(),
            provider: provider.clone(),
            stop,
            cut: CancellationToken::new(),
        })
    }
}
