//! An owner allows a connection: in a browser, which comes back with a code, or by a code that is typed in elsewhere.

use super::reserve::{self, NotYet};
use crate::app::App;
use crate::fetch::DeviceCode;
use crate::postgres::PostgresError;
use crate::preference::connections::{self, ConnectionError};
use crate::provider::{Flow, LoadError, LookupError, Provider};
use crate::token::{self, Pending, TokenError};
use crate::words::{Connection, ConnectionId, End, Granted, NoToken, TenantId, UnixMs};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;

/// How long the exchange waits for its reservation, where a quota counts it. Short: its code expires soon.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(10);
/// So long an owner may take.
const PATIENCE_MS: i64 = 10 * 60 * 1000;

/// Where browsers come back to, below `http.public_url`.
pub const CALLBACK: &str = "/v1/authorize/callback";

/// Why a connection could not be allowed.
#[derive(Debug, thiserror::Error)]
pub enum AuthoriseError {
    /// The provider has no such way.
    #[error("provider {provider} is not authorised by {way}: {instead}")]
    OtherWay {
        /// Which.
        provider: String,
        /// What was asked for.
        way: &'static str,
        /// What there is.
        instead: &'static str,
    },
    /// Nobody knows where the browser is to come back to.
    #[error(
        "nothing says where the browser comes back to: set http.public_url, or provider.{0}.redirect_url to what is \
         registered at the provider"
    )]
    NoWayBack(String),
    /// Nobody was sent away with it, or it was used, or it is too old.
    #[error("this way back was used before or is older than 10 minutes: begin again")]
    Stale,
    /// The owner, or the provider, said no.
    #[error("it was not allowed: {0}")]
    Denied(String),
    /// A quota or a hold.
    #[error("nothing was sent: {reason}; begin again after {until}")]
    NotYet {
        /// Not before this.
        until: UnixMs,
        /// Why.
        reason: String,
    },
    /// The provider gave no token.
    #[error("the provider gave no token: {0}")]
    NoToken(String),
    /// There is no such connection.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// Nor such a provider.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Its definition.
    #[error(transparent)]
    Definition(#[from] LoadError),
    /// The way could not be noted, or what it brought.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

impl From<NoToken> for AuthoriseError {
    fn from(error: NoToken) -> Self {
        let (NoToken::Refused { reason } | NoToken::Later { reason, .. }) = error;
        Self::NoToken(reason)
    }
}

/// Whether a way back belongs to where it is taken.
pub fn is_same(brought: &SecretString, asked: &SecretString) -> bool {
    brought.expose_secret() == asked.expose_secret()
}

/// A way that an owner may go now.
#[derive(Debug)]
pub struct StartedAuthorization {
    /// Where to.
    pub url: String,
    /// What the way back must bring.
    pub state: SecretString,
    /// Until when.
    pub expires_at: UnixMs,
}

/// What an owner came back with.
#[derive(Debug)]
pub enum Callback {
    /// It is allowed: what is to be exchanged for a token.
    Code(SecretString),
    /// It is not.
    Error(String),
}

/// Sends an owner to the provider.
pub async fn begin(
    app: &App,
    provider: &Arc<Provider>,
    connection: &Connection,
) -> Result<StartedAuthorization, AuthoriseError> {
    need(provider, Flow::Code)?;
    let now = app.clock.now();
    let redirect_url = redirect_url(app, provider)?;
    let request = app.client(provider)?.fetcher.authorization_request(connection, &redirect_url, now)?;
    let expires_at = now.plus_ms(PATIENCE_MS);
    let (tenant, id, verifier) = (connection.tenant, connection.id, request.verifier);
    let pending = Pending { tenant, connection: id, verifier, redirect_url };
    token::wait_for(&app.pool, &app.sealer, &request.state, &pending, expires_at).await?;
    Ok(StartedAuthorization { url: request.url, state: request.state, expires_at })
}

/// Takes an owner back: once a state.
pub async fn finish(
    app: &App,
    state: &SecretString,
    callback: &Callback,
) -> Result<(TenantId, ConnectionId), AuthoriseError> {
    let now = app.clock.now();
    let pending = token::redeem(&app.pool, &app.sealer, state, now).await?.ok_or(AuthoriseError::Stale)?;
    let code = match callback {
        Callback::Code(code) => code,
        Callback::Error(reason) => return Err(AuthoriseError::Denied(reason.clone())),
    };
    let connection =
        connections::open_any(&app.pool, &app.sealer, pending.tenant, pending.connection).await?;
    let provider = app.registry.find(connection.provider.as_str())?;
    let (verifier, redirect_url) = (pending.verifier.as_ref(), pending.redirect_url.as_str());
    let client = app.client(provider)?;
    let reserved = reserve::reserve(app, &client, connection.id, RESERVE_TIMEOUT).await;
    let reserved = reserved.map_err(|NotYet { until, reason }| AuthoriseError::NotYet { until, reason })?;
    let now = app.clock.now();
    let granted =
        client.fetcher.exchange(&connection, code.expose_secret(), verifier, redirect_url, now).await;
    reserved.end(granted.as_ref().map_or_else(NoToken::end, |_| End::Good)).await;
    allowed(app, &connection, &granted?, now).await?;
    Ok((pending.tenant, pending.connection))
}

/// A code for the owner to type in elsewhere.
pub async fn device_code(
    app: &App,
    provider: &Arc<Provider>,
    connection: &Connection,
) -> Result<DeviceCode, AuthoriseError> {
    need(provider, Flow::Device)?;
    Ok(app.client(provider)?.fetcher.device_code(connection, app.clock.now()).await?)
}

/// Waits until the owner has typed it in.
pub async fn finish_device(
    app: &App,
    provider: &Arc<Provider>,
    connection: &Connection,
    code: &DeviceCode,
) -> Result<(), AuthoriseError> {
    let granted = app.client(provider)?.fetcher.device_token(connection, code, || app.clock.now()).await?;
    allowed(app, connection, &granted, app.clock.now()).await
}

/// The token is written and the connection back at work together.
async fn allowed(
    app: &App,
    connection: &Connection,
    granted: &Granted,
    asked_at: UnixMs,
) -> Result<(), AuthoriseError> {
    connections::allow(&app.pool, &app.sealer, connection, granted, asked_at).await?;
    tracing::info!(connection = connection.id.0, "connection is authorised");
    Ok(())
}

fn need(provider: &Provider, flow: Flow) -> Result<(), AuthoriseError> {
    let declared = provider.definition.auth.get_ref().oauth2.as_ref().map(|oauth2| oauth2.get_ref().flow);
    if declared == Some(flow) {
        return Ok(());
    }
    Err(AuthoriseError::OtherWay {
        provider: provider.name.to_string(),
        way: match flow {
            Flow::Code => "a browser",
            Flow::Device => "a code on another device",
            Flow::Client => "its client alone",
        },
        instead: match declared {
            Some(Flow::Code) => "its owner allows it in a browser",
            Some(Flow::Device) => "`paceline connection authorize` shows a code to type in elsewhere",
            Some(Flow::Client) | None => "its secrets are all that it needs",
        },
    })
}

/// What the operator registered at the provider, or this API's own callback.
fn redirect_url(app: &App, provider: &Provider) -> Result<String, AuthoriseError> {
    let operator = app.settings.provider.of(&provider.name);
    if let Some(url) = operator.get("redirect_url") {
        return Ok(url.expose_secret().to_owned());
    }
    match app.settings.http.public_url.trim_end_matches('/') {
        "" => Err(AuthoriseError::NoWayBack(provider.name.to_string())),
        public => Ok(format!("{public}{CALLBACK}")),
    }
}
