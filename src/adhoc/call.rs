//! One call outside of the schedule: leave is asked of every quota that counts it, and its end is settled, as for any
//! other call. What is fetched is its caller's.

use crate::app::App;
use crate::authorise::{self, Authoriser, BootstrapState, Ready};
use crate::fetch::Fetcher;
use crate::keep::{self, KeepError};
use crate::postgres::PostgresError;
use crate::preference::connections;
use crate::provider::{LoadError, Provider};
use crate::redis::RedisError;
use crate::take::{ReserveOutcome, ReserveRequest, Settlement, Taker};
use crate::words::{CallId, Connection, ConnectionId, DeviceId, End, Hold, Outcome, TenantId, UnixMs};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum AdHocError {
    /// The account may not be used.
    #[error(
        "the connection's credential was refused before, or cannot be opened: give it a new one by \
         `paceline connection secret`"
    )]
    Unusable,
    /// Nor does the cloud give a token for it.
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
        /// When it will.
        when: String,
    },
    /// What its calls need could not be learned.
    #[error("the cloud was asked what calls need to know of the account first, and did not tell: {0}")]
    Unknown(String),
    /// The process did not get to it in time.
    #[error("nothing was sent: the instant that was granted has passed on this busy machine; try again")]
    Late,
    /// The definition.
    #[error(transparent)]
    Definition(#[from] LoadError),
    /// Housekeeping.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// Redis.
    #[error("the schedule in Redis, which grants every call, could not be asked; nothing was sent")]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// A call that may be sent now.
pub struct AdHocCall {
    /// What makes it.
    pub fetcher: Arc<Fetcher>,
    /// The account, with a token that works where the provider gives such.
    pub connection: Arc<Connection>,
    authoriser: Authoriser,
    taker: Taker,
    grant: CallId,
}

impl AdHocCall {
    /// Waits until every quota lets the call through, for so long at most.
    pub async fn begin(
        app: &App,
        provider: &Arc<Provider>,
        (tenant, connection): (TenantId, ConnectionId),
        request: &ReserveRequest,
        patience: Duration,
    ) -> Result<Self, AdHocError> {
        let opened =
            connections::open(&app.pool, &app.sealer, &[connection.0], provider.has_quota_inputs()).await?;
        let own = opened.into_iter().find(|connection| connection.tenant == tenant);
        let connection = Arc::new(own.ok_or(AdHocError::Unusable)?);
        // Before a token is asked for: a quota may count that, too.
        keep::rebuild_if_lost(app, &provider.name).await?;
        let fetcher = authorise::fetcher(app, provider)?;
        let authoriser = Authoriser::new(app, provider, &fetcher);
        let connection = match authoriser.ready(&connection).await {
            Ready::Go(connection) => connection,
            Ready::NotYet(until, by) => {
                return Err(AdHocError::NotYet { by, when: format!("before {until}") });
            }
            Ready::Refused(reason) => return Err(AdHocError::Refused(reason)),
        };
        let taker = Taker::new(app.redis.clone(), provider, &app.taker_settings());
        taker.observe_time(app.clock.now());
        let deadline = Instant::now() + patience;
        let mut grant = leave(app, provider, &taker, request, patience).await?;
        let connection = match authoriser.known(&connection).await {
            BootstrapState::Yes(connection) => connection,
            BootstrapState::NotYet(by) => {
                taker.settle(&[Settlement::unsent(grant)], None).await?;
                let when = "right now".to_owned();
                return Err(AdHocError::NotYet { by, when });
            }
            BootstrapState::Ask(_asking) => {
                let connection = look_up(app, &fetcher, &authoriser, &taker, connection, grant).await?;
                let left = deadline.saturating_duration_since(Instant::now());
                grant = leave(app, provider, &taker, request, left).await?;
                connection
            }
        };
        Ok(Self { fetcher, connection, authoriser, taker, grant })
    }

    /// Keeps what the answer corrected of what is known of the account.
    pub async fn learn(&self, learned: &BTreeMap<String, String>, asked_at: UnixMs) {
        self.authoriser.learn(&self.connection, learned, false, asked_at).await;
    }

    /// Tells how it ended. What it brought is worth keeping even if the schedule cannot be told.
    pub async fn end(self, end: End, holds: Vec<(Hold, Option<DeviceId>)>, is_unauthorized: bool) {
        if is_unauthorized {
            self.authoriser.refused(&self.connection).await;
        }
        let settlement = Settlement { end, holds, ..Settlement::unsent(self.grant) };
        if let Err(error) = self.taker.settle(&[settlement], None).await {
            tracing::warn!(%error, "the schedule was not told how the call ended: its lease runs out by itself");
        }
    }
}

/// Waits until every quota lets one call through, for so long at most.
async fn leave(
    app: &App,
    provider: &Provider,
    taker: &Taker,
    request: &ReserveRequest,
    patience: Duration,
) -> Result<CallId, AdHocError> {
    let (grant, latest) = match taker.reserve_within(request, patience, app.tolerance(provider)).await? {
        ReserveOutcome::Go { call, latest } => (call, latest),
        ReserveOutcome::NotYet { by, when, .. } => return Err(AdHocError::NotYet { by, when }),
    };
    if Instant::now() > latest {
        taker.settle(&[Settlement::unsent(grant)], None).await?;
        return Err(AdHocError::Late);
    }
    Ok(grant)
}

/// Asks what must be known of the account first, for what was granted.
async fn look_up(
    app: &App,
    fetcher: &Fetcher,
    authoriser: &Authoriser,
    taker: &Taker,
    connection: Arc<Connection>,
    grant: CallId,
) -> Result<Arc<Connection>, AdHocError> {
    let asked_at = app.clock.now();
    let found = fetcher.bootstrap(connection.clone(), asked_at).await;
    if matches!(found.values, Err(Outcome::Unauthorized { .. })) {
        authoriser.refused(&connection).await;
    }
    authoriser.learn(&connection, &found.corrected, false, asked_at).await;
    if let Ok(values) = &found.values {
        authoriser.learn(&connection, values, true, asked_at).await;
    }
    let settlement = Settlement { end: found.end, holds: found.holds, ..Settlement::unsent(grant) };
    taker.settle(&[settlement], None).await?;
    match found.values {
        Ok(bootstrap) => {
            let bootstrap_of = fetcher.bootstrap_request_hash();
            Ok(Arc::new(Connection { bootstrap, bootstrap_of, ..Connection::clone(&connection) }))
        }
        Err(outcome) => {
            let why = outcome.describe();
            Err(AdHocError::Unknown(why))
        }
    }
}
