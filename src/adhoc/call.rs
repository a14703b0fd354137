//! One ad-hoc call: reserved with every quota that counts it, and settled like any other. Its caller sends it.

use crate::app::{App, ProviderClient, TaskFailed};
use crate::authorise::{Authoriser, BootstrapState, Ready};
use crate::fetch::Fetcher;
use crate::incident::{self, Change, Health};
use crate::journey::health_of;
use crate::keep::{self, KeepError};
use crate::postgres::PostgresError;
use crate::preference::{connections, refusals};
use crate::provider::{LoadError, Provider};
use crate::redis::RedisError;
use crate::take::{ReserveOutcome, ReserveRequest, Settlement};
use crate::words::{
    CallId, Connection, ConnectionId, ConnectionState, DeviceId, End, Hold, Incident, Outcome, TenantId,
    UnixMs,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// For whom a call is made.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// The tenant.
    pub tenant: TenantId,
    /// Its connection.
    pub connection: ConnectionId,
    /// Whether to call also with a credential that was refused before: a person asks whether it is accepted again.
    pub tests_refused: bool,
}

/// For how long a saturated limit keeps a place for an ad-hoc call after its instant, ms: whoever gave up waiting may
/// try again by then.
pub const KEEP_MS: u32 = 120_000;

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum AdHocError {
    /// The connection's credential was refused before, or cannot be opened.
    #[error(
        "the connection's credential was refused before, or cannot be opened: give it a new one by \
         `paceline connection secret`"
    )]
    Unusable,
    /// A person paused it.
    #[error("nothing was sent: the connection is paused; `paceline connection resume` resumes it")]
    Paused,
    /// A person closed it.
    #[error("nothing was sent: the connection is closed; `paceline connection secret` gives it new secrets")]
    Closed,
    /// The provider gives no token for it.
    #[error(
        "nothing was sent: {0}; its owner gives new secrets by `paceline connection secret`, or allows it again by \
         `paceline connection authorize`"
    )]
    Refused(String),
    /// A quota or a hold.
    #[error("nothing was sent: {by} lets no call through {when}; try again then, or wait for it with --wait")]
    NotYet {
        /// The quota's name, or the hold's reason.
        by: String,
        /// For people: "for another 3s".
        when: String,
        /// The same, ms, where it is known.
        wait_ms: Option<f64>,
    },
    /// The provider fails for many of its connections, and other calls probe it.
    #[error(
        "nothing was sent: the provider fails for {} of {} connections since {} ({}), so only a few calls probe it, \
         and the next may be sent {when}; try again then, or wait for it with --wait",
        incident.failing, incident.called, incident.since, incident.outcome
    )]
    Incident {
        /// What is known of it.
        incident: Incident,
        /// For people: "in 3s".
        when: String,
        /// The same, ms.
        wait_ms: f64,
    },
    /// The bootstrap values that its calls need could not be had.
    #[error("the provider was asked for the values that calls of this account need, and gave none: {0}")]
    Bootstrap(String),
    /// The process was too busy.
    #[error("nothing was sent: this machine was too busy to send at the granted instant; try again")]
    Late,
    /// Nobody waits for the call any more.
    #[error("nothing was sent: the call was cancelled before it was sent")]
    Abandoned,
    /// The definition.
    #[error(transparent)]
    Definition(#[from] LoadError),
    /// The schedule could not be rebuilt.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// Redis.
    #[error("nothing was sent: Redis, which grants every call, could not be asked")]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// A bug: the task panicked.
    #[error(transparent)]
    Task(#[from] TaskFailed),
}

/// How a call ended.
pub struct AdHocEnd {
    /// What it means for the quotas.
    pub end: End,
    /// What the provider asked to wait for.
    pub holds: Vec<(Hold, Option<DeviceId>)>,
    /// Whether its credential was refused.
    pub is_unauthorized: bool,
    /// What it shows of the provider; none: nothing.
    pub health: Option<Health>,
}

/// A reserved call that may be sent now. It must be settled: make and send it in a detached task.
pub struct AdHocCall {
    /// The account, with a token that works where the provider gives such.
    pub connection: Arc<Connection>,
    app: App,
    authoriser: Authoriser,
    client: Arc<ProviderClient>,
    call: CallId,
}

impl AdHocCall {
    /// Reserves the call, waiting for at most `timeout` until every quota lets it through. When `abandoned` is
    /// cancelled before, nothing is sent.
    pub async fn reserve(
        app: &App,
        provider: &Arc<Provider>,
        whose: Whose,
        request: &ReserveRequest,
        timeout: Duration,
        abandoned: &CancellationToken,
    ) -> Result<Self, AdHocError> {
        let opened =
            connections::open(&app.pool, &app.sealer, &[whose.connection.0], provider.has_quota_inputs())
                .await?;
        let own = opened.into_iter().find(|connection| connection.tenant == whose.tenant);
        let connection = Arc::new(own.ok_or(AdHocError::Unusable)?);
        match connection.state {
            ConnectionState::Active => {}
            ConnectionState::NeedsReauth if whose.tests_refused => {}
            ConnectionState::NeedsReauth => return Err(AdHocError::Unusable),
            ConnectionState::Paused => return Err(AdHocError::Paused),
            ConnectionState::Closed => return Err(AdHocError::Closed),
        }
        // Before a token is asked for: a quota may count that, too.
        keep::rebuild_if_lost(app, &provider.name).await?;
        let began = Instant::now();
        wait_for_probe(app, provider, timeout, abandoned).await?;
        let timeout = timeout.saturating_sub(began.elapsed());
        let (client, authoriser) = (app.client(provider)?, Authoriser::new(app, provider)?);
        let connection = match authoriser.ready(&connection).await {
            Ready::Go(connection) => connection,
            Ready::NotYet(until, by) => {
                let wait_ms = until.since_ms(app.clock.now()).max(0) as f64;
                return Err(AdHocError::NotYet {
                    by,
                    when: format!("before {until}"),
                    wait_ms: Some(wait_ms),
                });
            }
            Ready::Refused(reason) => return Err(AdHocError::Refused(reason)),
        };
        let deadline = Instant::now() + timeout;
        let reserve = async || {
            let left = deadline.saturating_duration_since(Instant::now());
            reserve(app, &client, request, left, abandoned).await
        };
        let call = reserve().await?;
        let (connection, call) = match authoriser.bootstrap_state(&connection).await {
            BootstrapState::Yes(connection) => (connection, call),
            BootstrapState::NotYet(by) => {
                client.taker.settle(&[Settlement::unsent(call)], None).await?;
                return Err(AdHocError::NotYet { by, when: "right now".to_owned(), wait_ms: None });
            }
            BootstrapState::Ask(_lookup) => {
                (bootstrap(app, &client, &authoriser, connection, call).await?, reserve().await?)
            }
        };
        Ok(Self { connection, app: app.clone(), authoriser, client, call })
    }

    /// Sends it.
    pub fn fetcher(&self) -> &Fetcher {
        &self.client.fetcher
    }

    /// Keeps the bootstrap values that the response corrected.
    pub async fn learn(&self, learned: &BTreeMap<String, String>, asked_at: UnixMs) {
        self.authoriser.learn(&self.connection, learned, false, asked_at).await;
    }

    /// Settles it. What it brought is worth keeping even if that fails.
    pub async fn settle(self, ended: AdHocEnd) {
        let AdHocEnd { end, holds, is_unauthorized, health } = ended;
        if is_unauthorized {
            self.authoriser.refused(&self.connection).await;
        }
        let is_well = matches!(health, Some(Health::Well { .. })) && !is_unauthorized;
        if is_well
            && self.connection.state == ConnectionState::NeedsReauth
            && let Err(error) = refusals::restore(&self.app.pool, &[self.connection.id.0]).await
        {
            tracing::warn!(%error, "a connection whose credential is accepted again is not active yet");
        }
        if let Some(health) = health.filter(|_| end != End::Unsent) {
            note_probe(&self.app, &self.client.provider, self.connection.id, health).await;
        }
        let settlement = Settlement { end, holds, ..Settlement::unsent(self.call) };
        if let Err(error) = self.client.taker.settle(&[settlement], None).await {
            tracing::warn!(%error, "ad-hoc call not settled; its lease expires by itself");
        }
    }
}

/// Waits until calls may probe a provider that has an incident, before a token is asked for in vain.
async fn wait_for_probe(
    app: &App,
    provider: &Provider,
    timeout: Duration,
    abandoned: &CancellationToken,
) -> Result<(), AdHocError> {
    let incident = app.incidents.read(&provider.name).await?;
    let Some((at, incident)) = incident.and_then(|incident| Some((incident.next_probe?, incident))) else {
        return Ok(());
    };
    let wait_ms = at.since_ms(app.clock.now()).max(0) as f64;
    let wait = Duration::from_secs_f64(wait_ms / 1000.0);
    if wait > timeout {
        return Err(of_incident(incident, wait_ms));
    }
    abandoned.run_until_cancelled(sleep(wait)).await.ok_or(AdHocError::Abandoned)
}

fn of_incident(incident: Incident, wait_ms: f64) -> AdHocError {
    let wait = Duration::from_secs_f64((wait_ms / 1000.0).ceil());
    AdHocError::Incident { incident, when: format!("in {}", humantime::format_duration(wait)), wait_ms }
}

/// Notes what a call showed while the provider has an incident: it was one of its probes.
async fn note_probe(app: &App, provider: &Provider, connection: ConnectionId, health: Health) {
    let name = &provider.name;
    let noted = async {
        if app.incidents.read(name).await?.is_none() {
            return Ok(());
        }
        let ended = HashMap::from([(connection, health)]);
        if app.incidents.note(name, &ended, app.clock.now(), None).await? == Change::Closed {
            incident::close(&app.pool, name, app.settings.incident.window.as_ms().cast_signed()).await?;
            tracing::warn!(provider = %name, "the provider's incident is over");
        }
        Ok::<_, AdHocError>(())
    };
    if let Err(error) = noted.await {
        tracing::debug!(provider = %name, %error, "probe of an incident not noted");
    }
}

async fn reserve(
    app: &App,
    client: &ProviderClient,
    request: &ReserveRequest,
    timeout: Duration,
    abandoned: &CancellationToken,
) -> Result<CallId, AdHocError> {
    let (call, latest) = match client.taker.reserve_within(request, timeout, abandoned).await? {
        ReserveOutcome::Go { call, latest } => (call, latest),
        ReserveOutcome::NotYet { by, when, wait_ms } => {
            return Err(AdHocError::NotYet { by, when, wait_ms });
        }
        ReserveOutcome::Incident { wait_ms } => {
            return Err(match app.incidents.read(&client.provider.name).await? {
                Some(incident) => of_incident(incident, wait_ms),
                // It ended meanwhile.
                None => AdHocError::Late,
            });
        }
        ReserveOutcome::Abandoned => return Err(AdHocError::Abandoned),
    };
    if Instant::now() > latest {
        client.taker.settle(&[Settlement::unsent(call)], None).await?;
        return Err(AdHocError::Late);
    }
    Ok(call)
}

/// Spends the reserved call on asking for bootstrap values.
async fn bootstrap(
    app: &App,
    client: &ProviderClient,
    authoriser: &Authoriser,
    connection: Arc<Connection>,
    call: CallId,
) -> Result<Arc<Connection>, AdHocError> {
    let asked_at = app.clock.now();
    let found = client.fetcher.bootstrap(connection.clone(), asked_at).await;
    if matches!(found.values, Err(Outcome::Unauthorized { .. })) {
        authoriser.refused(&connection).await;
    }
    if let Some(health) = health_of(found.values.as_ref().err().into_iter(), true) {
        note_probe(app, &client.provider, connection.id, health).await;
    }
    authoriser.learn(&connection, &found.corrected, false, asked_at).await;
    if let Ok(values) = &found.values {
        authoriser.learn(&connection, values, true, asked_at).await;
    }
    let settlement = Settlement { end: found.end, holds: found.holds, ..Settlement::unsent(call) };
    client.taker.settle(&[settlement], None).await?;
    let bootstrap = found.values.map_err(|outcome| AdHocError::Bootstrap(outcome.describe()))?;
    let bootstrap_of = client.fetcher.bootstrap_request_hash();
    Ok(Arc::new(Connection { bootstrap, bootstrap_of, ..Connection::clone(&connection) }))
}
