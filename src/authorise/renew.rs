//! Renewing a token: begun by one process, asked once, written, and only then used.

use crate::app::App;
use crate::fetch::Fetcher;
use crate::preference::connections;
use crate::provider::Provider;
use crate::retry::{RECONNECT, Retry};
use crate::token::{self, Begun, Renewal, TokenError};
use crate::words::{Connection, Granted, NoToken, Token, UnixMs};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// After the request's own time limit there is so long to write what it brought.
const WRITING: Duration = Duration::from_secs(15);
/// The longest wait after failures in a row.
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// A server of ours is away.
const AWAY_MS: i64 = 1_000;

/// Whether a connection may call now.
#[derive(Debug)]
pub enum Ready {
    /// With this.
    Go(Arc<Connection>),
    /// Not before this instant.
    NotYet(UnixMs, String),
    /// Not before its owner has authorised it again; it is marked so.
    Refused(String),
}

/// Keeps the tokens of one provider's connections.
pub struct Authoriser {
    app: App,
    provider: Arc<Provider>,
    fetcher: Arc<Fetcher>,
}

impl Authoriser {
    /// Of this provider.
    pub fn new(app: &App, provider: &Arc<Provider>, fetcher: &Arc<Fetcher>) -> Self {
        Self { app: app.clone(), provider: provider.clone(), fetcher: fetcher.clone() }
    }

    /// The connection with a token that works, as far as is known. Most of the time it has one, and nobody is asked.
    pub async fn ready(&self, connection: &Arc<Connection>) -> Ready {
        let now = self.app.clock.now();
        let has_tokens = self.provider.definition.auth.get_ref().has_tokens();
        if !has_tokens || connection.token.as_ref().is_some_and(|token| !token.is_due(now)) {
            return Ready::Go(connection.clone());
        }
        let renewed = self.renew(connection, now).await.unwrap_or_else(|error| {
            tracing::warn!(connection = connection.id.0, %error, "token not renewed; will try again");
            Ready::NotYet(now.plus_ms(AWAY_MS), "its token could not be renewed".to_owned())
        });
        match (renewed, &connection.token) {
            // What is about to expire works until then.
            (Ready::NotYet(..), Some(token)) if token.is_good(now) => Ready::Go(connection.clone()),
            (ready, _) => ready,
        }
    }

    /// A call with the connection's token was refused: the next one gets another.
    pub async fn refused(&self, connection: &Connection) {
        let Some(token) = &connection.token else { return };
        let now = self.app.clock.now();
        // If it cannot be noted now, the next call is refused likewise and notes it.
        if let Err(error) = token::expire(&self.app.pool, connection, token.generation, now).await {
            tracing::warn!(connection = connection.id.0, %error, "refused token not given up yet");
        }
    }

    async fn renew(&self, connection: &Arc<Connection>, now: UnixMs) -> Result<Ready, TokenError> {
        let (pool, sealer) = (&self.app.pool, &self.app.sealer);
        let known = connection.token.as_ref().map(|token| token.generation);
        let timeout = Duration::from_millis(self.provider.definition.http.timeout.as_ms());
        let patience = timeout + WRITING;
        let apart_ms = self.apart().as_millis() as i64;
        let spans = (patience.as_millis() as i64, apart_ms);
        let renewal = match token::begin(pool, sealer, connection, known, now, spans).await? {
            Begun::Mine(renewal) => renewal,
            Begun::Done(token) => return Ok(Ready::Go(with(connection, token))),
            Begun::NotYet(until, reason) => return Ok(Ready::NotYet(until, reason)),
        };
        let as_kept = Connection { token: renewal.from.clone(), ..Connection::clone(connection) };
        match self.fetcher.token(&as_kept, now).await {
            Ok(granted) => {
                let deadline = Instant::now() + WRITING;
                let kept = self.keep(connection, &renewal, &granted, now, deadline).await?;
                let kept = kept.map(|token| Ready::Go(with(connection, token)));
                Ok(kept.unwrap_or_else(|| {
                    Ready::NotYet(now.plus_ms(AWAY_MS), "its token has changed".to_owned())
                }))
            }
            Err(NoToken::Refused { reason }) => self.give_up(connection, &renewal, reason, now).await,
            Err(NoToken::Later { reason, wait_ms }) => {
                let backoff = Retry { base: self.apart(), cap: RETRY_MAX };
                let bound_ms = backoff.bound(renewal.failures).as_millis() as i64;
                let until = now.plus_ms(wait_ms.unwrap_or(0).max(bound_ms));
                token::fail(pool, connection, &renewal, &reason, until).await?;
                Ok(Ready::NotYet(until, format!("its token cannot be renewed yet: {reason}")))
            }
        }
    }

    /// The least from one renewal of a connection to its next.
    fn apart(&self) -> Duration {
        let auth = self.provider.definition.auth.get_ref();
        Duration::from_millis(auth.token_interval_min().map_or(0, |length| length.as_ms()))
    }

    /// Writes what was granted, for as long as it takes Postgres to come back: the token before may work no more.
    async fn keep(
        &self,
        connection: &Connection,
        renewal: &Renewal,
        granted: &Granted,
        asked_at: UnixMs,
        deadline: Instant,
    ) -> Result<Option<Token>, TokenError> {
        let (pool, sealer) = (&self.app.pool, &self.app.sealer);
        for failures in 0.. {
            match token::keep(pool, sealer, connection, renewal, granted, asked_at).await {
                Err(error) if error.is_outage() && Instant::now() < deadline => {
                    let nap = RECONNECT.wait(failures, &mut rand::rng());
                    sleep(nap).await;
                }
                kept => return kept,
            }
        }
        Ok(None)
    }

    /// Nothing but its owner's word helps: its jobs leave the schedule until then.
    async fn give_up(
        &self,
        connection: &Connection,
        renewal: &Renewal,
        reason: String,
        asked_at: UnixMs,
    ) -> Result<Ready, TokenError> {
        let pool = &self.app.pool;
        let until = asked_at.plus_ms(self.apart().as_millis() as i64);
        token::fail(pool, connection, renewal, &reason, until).await?;
        let jobs = connections::needs_reauth(pool, connection.id, &reason, asked_at).await?;
        tracing::warn!(connection = connection.id.0, reason, "connection needs its owner's word again");
        if let Err(error) = self.app.queue.drop(&self.provider.name, &jobs).await {
            // The next check finds them, and until then each call finds the connection unusable.
            tracing::warn!(connection = connection.id.0, %error, "its jobs are still on the schedule");
        }
        Ok(Ready::Refused(reason))
    }
}

fn with(connection: &Connection, token: Token) -> Arc<Connection> {
    Arc::new(Connection { token: Some(token), ..connection.clone() })
}
