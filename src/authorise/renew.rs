//! Renews tokens: one process starts a renewal, asks once, writes the token, and only then uses it.

use super::reserve::{self, NotYet};
use crate::app::{App, ProviderClient};
use crate::fetch::Trace;
use crate::provider::{LoadError, Provider};
use crate::retry::Retry;
use crate::token::{self, Renewal, StartOutcome, TokenError};
use crate::words::{Connection, End, Granted, NoToken, Token, UnixMs};
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a request waits for its reservation, where a quota counts it.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long writing the token may take after the request.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest wait after failures in a row.
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// Waits between attempts to write a token. Short: a refresh token that rotates must be stored before another process
/// asks with the old one.
const WRITE: Retry = Retry { base: Duration::from_millis(100), cap: Duration::from_millis(500) };
/// The wait while Postgres cannot be reached, or another process was faster.
const RETRY_MS: i64 = 1_000;

/// Whether a connection may call now.
#[derive(Debug)]
pub enum Ready {
    /// With this token.
    Go(Arc<Connection>),
    /// Not before this instant.
    NotYet(UnixMs, String),
    /// Not before its owner has authorised it again; the connection is marked.
    Refused(String),
}

/// Keeps the tokens and bootstrap values of one provider's connections.
#[derive(Clone)]
pub struct Authoriser {
    pub(super) app: App,
    pub(super) client: Arc<ProviderClient>,
}

impl Authoriser {
    /// Of this provider.
    pub fn new(app: &App, provider: &Arc<Provider>) -> Result<Self, LoadError> {
        Ok(Self { app: app.clone(), client: app.client(provider)? })
    }

    /// The connection with a token that works, as far as is known. Usually it has one, and nothing is asked.
    pub async fn ready(&self, connection: &Arc<Connection>) -> Ready {
        let now = self.app.clock.now();
        let has_tokens = self.client.provider.definition.auth.get_ref().has_tokens();
        if !has_tokens || connection.token.as_ref().is_some_and(|token| !token.is_due(now)) {
            return Ready::Go(connection.clone());
        }
        let renewed = self.renew(connection, now).await.unwrap_or_else(|error| {
            tracing::warn!(connection = connection.id.0, %error, "token not renewed; will try again");
            Ready::NotYet(now.plus_ms(RETRY_MS), "its token could not be renewed".to_owned())
        });
        match (renewed, &connection.token) {
            // One that is about to expire works until then.
            (Ready::NotYet(..), Some(token)) if token.is_good(now) => Ready::Go(connection.clone()),
            (ready, _) => ready,
        }
    }

    /// A call with the connection's token was refused: the next one gets another. False: Postgres was away for too long
    /// to note it, so the next one may be refused for the same token, and this refusal must not count.
    pub async fn refused(&self, connection: &Connection) -> bool {
        let Some(token) = &connection.token else { return true };
        let now = self.app.clock.now();
        let deadline = Instant::now() + WRITE_TIMEOUT;
        let noted =
            retry_outage(Some(deadline), || token::expire(&self.app.pool, connection, token.generation, now));
        let noted = noted.await;
        if let Err(error) = &noted {
            tracing::warn!(connection = connection.id.0, %error, "refused token not marked as expired");
        }
        noted.is_ok()
    }

    async fn renew(&self, connection: &Arc<Connection>, now: UnixMs) -> Result<Ready, TokenError> {
        self.renew_within(connection, now, RESERVE_TIMEOUT, false).await.map(|(ready, _)| ready)
    }

    /// Renews the token now, even if it is not due, and shows the HTTP exchanges; waits for the quotas for `timeout`.
    /// The new token is stored, as any is: it may have ended the previous one.
    pub async fn renew_traced(
        &self,
        connection: &Arc<Connection>,
        timeout: Duration,
    ) -> Result<(Ready, Trace), TokenError> {
        self.renew_within(connection, self.app.clock.now(), timeout, true).await
    }

    /// Requests a token for a connection that is not stored, under the quotas of `connection.id`; stores nothing. An
    /// error says why nothing was sent.
    pub async fn request_traced(
        &self,
        connection: &Connection,
        timeout: Duration,
    ) -> Result<(Result<Granted, NoToken>, Trace), String> {
        let reserved = reserve::reserve(&self.app, &self.client, connection.id, timeout).await;
        let reserved = reserved.map_err(|NotYet { until, reason }| format!("{reason}, before {until}"))?;
        let (answer, trace) = self.client.fetcher.token_traced(connection, self.app.clock.now()).await;
        reserved.end(answer.as_ref().map_or_else(NoToken::end, |_| End::Good)).await;
        Ok((answer, trace))
    }

    async fn renew_within(
        &self,
        connection: &Arc<Connection>,
        now: UnixMs,
        reserve_timeout: Duration,
        traced: bool,
    ) -> Result<(Ready, Trace), TokenError> {
        let (pool, sealer) = (&self.app.pool, &self.app.sealer);
        let known = connection.token.as_ref().map(|token| token.generation);
        let span = reserve_timeout + self.client.fetcher.token_timeout() + WRITE_TIMEOUT;
        let min_interval_ms = self.min_interval().as_millis() as i64;
        let spans = (span.as_millis() as i64, min_interval_ms);
        let renewal = match token::begin(pool, sealer, connection, known, now, spans).await? {
            StartOutcome::Mine(renewal) => renewal,
            StartOutcome::Done(token) => return Ok((Ready::Go(with(connection, token)), Trace::default())),
            StartOutcome::NotYet(until, reason) => {
                return Ok((Ready::NotYet(until, reason), Trace::default()));
            }
        };
        // It must finish even if the caller goes away: a refresh token that rotates is spent by the request, and the
        // response with the next one comes once.
        let (this, connection) = (self.clone(), connection.clone());
        let asked = self.app.detached.spawn(async move {
            let mut trace = Trace::default();
            let ready =
                this.ask(&connection, &renewal, now, reserve_timeout, traced.then_some(&mut trace)).await;
            ready.map(|ready| (ready, trace))
        });
        // The caller waits no longer than for a call, unless it is here for the token. A late token is written all the
        // same, and later calls use it.
        let call_timeout = Duration::from_millis(self.client.provider.definition.http.timeout.as_ms());
        let caller_timeout = if traced { span } else { RESERVE_TIMEOUT + call_timeout };
        let not_yet = |reason: &str| {
            let until = self.app.clock.now().plus_ms(RETRY_MS);
            Ok((Ready::NotYet(until, reason.to_owned()), Trace::default()))
        };
        match timeout(caller_timeout, asked).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(error)) => {
                tracing::error!(%error, "token renewal task failed");
                not_yet("its token could not be renewed")
            }
            Err(_) => not_yet("the provider takes long to renew its token"),
        }
    }

    /// Asks for the token of a started renewal, as soon as quotas let it, and writes it.
    async fn ask(
        &self,
        connection: &Arc<Connection>,
        renewal: &Renewal,
        now: UnixMs,
        reserve_timeout: Duration,
        trace: Option<&mut Trace>,
    ) -> Result<Ready, TokenError> {
        let (pool, sealer) = (&self.app.pool, &self.app.sealer);
        let reserved = match reserve::reserve(&self.app, &self.client, connection.id, reserve_timeout).await {
            Ok(reserved) => reserved,
            Err(NotYet { until, reason }) => {
                token::put_off(pool, connection, renewal, &reason, until).await?;
                return Ok(Ready::NotYet(until, reason));
            }
        };
        let as_kept = Connection { token: renewal.from.clone(), ..Connection::clone(connection) };
        let answer = match trace {
            None => self.client.fetcher.token(&as_kept, now).await,
            Some(trace) => {
                let (answer, exchanges) = self.client.fetcher.token_traced(&as_kept, now).await;
                *trace = exchanges;
                answer
            }
        };
        reserved.end(answer.as_ref().map_or_else(NoToken::end, |_| End::Good)).await;
        match answer {
            Ok(granted) => {
                // For as long as Postgres cannot be reached: the previous token may no longer work. At shutdown it is
                // cut off after the grace.
                let kept =
                    retry_outage(None, || token::keep(pool, sealer, connection, renewal, &granted, now))
                        .await?;
                Ok(kept.map_or_else(|| changed(now), |token| Ready::Go(with(connection, token))))
            }
            // The provider refuses many at once: that is not for their owners to mend.
            Err(NoToken::Refused { reason }) if self.has_incident() => {
                self.put_off(connection, renewal, reason, None, now).await
            }
            Err(NoToken::Refused { reason }) => self.give_up(connection, renewal, reason, now).await,
            Err(NoToken::Later { reason, wait_ms, .. }) => {
                self.put_off(connection, renewal, reason, wait_ms, now).await
            }
        }
    }

    fn has_incident(&self) -> bool {
        self.app.incidents.known(&self.client.provider.name).is_some()
    }

    async fn put_off(
        &self,
        connection: &Connection,
        renewal: &Renewal,
        reason: String,
        reported_ms: Option<i64>,
        now: UnixMs,
    ) -> Result<Ready, TokenError> {
        let until = now.plus_ms(self.delay_ms(renewal.failures, reported_ms, &mut rand::rng()));
        token::fail(&self.app.pool, connection, renewal, &reason, until).await?;
        Ok(Ready::NotYet(until, format!("its token cannot be renewed yet: {reason}")))
    }

    /// The wait after a failure, ms, with so many before it in a row: at least what the provider asked for
    /// (`reported_ms`), and a backoff with jitter, so that connections that failed together do not come back together.
    fn delay_ms(&self, failures: u32, reported_ms: Option<i64>, rng: &mut impl Rng) -> i64 {
        let backoff = Retry { base: self.min_interval(), cap: RETRY_MAX };
        let own = backoff.jittered(failures, rng);
        reported_ms.unwrap_or(0).max(own.as_millis() as i64)
    }

    /// The least time from one renewal of a connection to its next.
    fn min_interval(&self) -> Duration {
        let auth = self.client.provider.definition.auth.get_ref();
        Duration::from_millis(auth.token_interval_min().map_or(0, |length| length.as_ms()))
    }

    /// Only its owner can help: marks the connection and takes its jobs off the schedule.
    async fn give_up(
        &self,
        connection: &Connection,
        renewal: &Renewal,
        reason: String,
        asked_at: UnixMs,
    ) -> Result<Ready, TokenError> {
        let pool = &self.app.pool;
        let until = asked_at.plus_ms(self.min_interval().as_millis() as i64);
        let marked = token::give_up(pool, connection, renewal, &reason, until).await?;
        let Some(jobs) = marked else { return Ok(changed(self.app.clock.now())) };
        tracing::warn!(
            connection = connection.id.0,
            reason,
            "connection waits for its owner to authorise it again"
        );
        if let Err(error) = self.app.queue.drop(&self.client.provider.name, &jobs).await {
            // The next check repairs that; until then each call finds the connection unusable.
            tracing::warn!(connection = connection.id.0, %error, "its jobs are still on the schedule");
        }
        Ok(Ready::Refused(reason))
    }
}

/// Another process was faster: its token counts.
fn changed(now: UnixMs) -> Ready {
    Ready::NotYet(now.plus_ms(RETRY_MS), "its token has changed".to_owned())
}

/// Tries again while Postgres cannot be reached, until the deadline if there is one.
async fn retry_outage<T, F: Future<Output = Result<T, TokenError>>>(
    deadline: Option<Instant>,
    attempt: impl Fn() -> F,
) -> Result<T, TokenError> {
    let mut failures = 0;
    loop {
        match attempt().await {
            Err(error) if error.is_outage() && deadline.is_none_or(|deadline| Instant::now() < deadline) => {
                tracing::warn!(%error, "token not written; will try again");
                let delay = WRITE.wait(failures, &mut rand::rng());
                sleep(delay).await;
                failures += 1;
            }
            other => return other,
        }
    }
}

fn with(connection: &Connection, token: Token) -> Arc<Connection> {
    Arc::new(Connection { token: Some(token), ..connection.clone() })
}
