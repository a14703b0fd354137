//! Authorisation by the owner: in a browser, which is redirected back with a code, or by a code entered on another
//! device.

use super::reserve::{self, NotYet, ReservedRequest};
use crate::app::{App, ProviderClient};
use crate::fetch::{DeviceCode, Reservations};
use crate::postgres::PostgresError;
use crate::preference::activation;
use crate::preference::connections::{self, ConnectionError};
use crate::provider::{Flow, LoadError, LookupError, Provider};
use crate::token::{self, Pending, TokenError};
use crate::words::{Connection, ConnectionId, End, Granted, NoToken, TenantId, UnixMs};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the exchange waits for its reservation, where a quota counts it. Short: its code expires soon.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an owner may take.
const OWNER_TIMEOUT_MS: i64 = 10 * 60 * 1000;

/// The callback's path below `http.public_url`.
pub const CALLBACK: &str = "/v1/authorize/callback";
/// Where an owner's browser begins, beside the callback.
pub const START: &str = "/v1/authorize/start";

/// Why a connection could not be authorised.
#[derive(Debug, thiserror::Error)]
pub enum AuthoriseError {
    /// The provider is authorised in another way.
    #[error("provider {provider} is not authorised by {way}: {instead}")]
    OtherFlow {
        /// The provider.
        provider: String,
        /// The way that was asked for.
        way: &'static str,
        /// The way there is.
        instead: &'static str,
    },
    /// The callback's address is not configured.
    #[error(
        "the callback's address is not configured: set http.public_url, or provider.{0}.redirect_url to what is \
         registered at the provider"
    )]
    NoRedirectUrl(String),
    /// The state is unknown: never issued, used before, or expired.
    #[error("this authorization was used before or is older than 10 minutes: begin again")]
    Stale,
    /// The owner or the provider refused.
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
    /// There is no such provider.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The definition.
    #[error(transparent)]
    Definition(#[from] LoadError),
    /// The authorisation or its token could not be stored.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

impl AuthoriseError {
    /// The text for users of the API, who have neither commands nor settings.
    pub fn for_users(&self) -> String {
        match self {
            Self::OtherFlow { provider, instead: BY_CODE, .. } => format!(
                "provider {provider} is authorised by a code typed in on another device: ask the operator for one"
            ),
            Self::NoRedirectUrl(provider) => {
                format!("the operator has not set up yet where browsers return from {provider}: ask them to")
            }
            Self::Lookup(error) => error.for_users(),
            _ => self.to_string(),
        }
    }
}

/// What authorises a device's connection.
const BY_CODE: &str = "`paceline connection authorize` shows a code to type in elsewhere";

impl From<NoToken> for AuthoriseError {
    fn from(error: NoToken) -> Self {
        let (NoToken::Refused { reason } | NoToken::Later { reason, .. }) = error;
        Self::NoToken(reason)
    }
}

/// Whether a callback's state is the one that was issued.
pub fn is_same(brought: &SecretString, issued: &SecretString) -> bool {
    brought.expose_secret() == issued.expose_secret()
}

/// Where an owner goes to authorise a connection.
#[derive(Debug)]
pub struct StartedAuthorization {
    /// The provider's address.
    pub url: String,
    /// Where this API begins, so that the callback is bound to the browser; none if the callback is not this API's.
    pub start_url: Option<String>,
    /// What the callback must bring.
    pub state: SecretString,
    /// When it expires.
    pub expires_at: UnixMs,
}

/// What the provider's callback brings.
#[derive(Debug)]
pub enum Callback {
    /// What is exchanged for a token.
    Code(SecretString),
    /// Why the owner or the provider refused.
    Error(String),
}

/// Starts an authorisation in a browser.
pub async fn begin(
    app: &App,
    provider: &Arc<Provider>,
    connection: &Connection,
) -> Result<StartedAuthorization, AuthoriseError> {
    need(provider, Flow::Code)?;
    let now = app.clock.now();
    let redirect_url = redirect_url(app, provider)?;
    let request = app.client(provider)?.fetcher.authorization_request(connection, &redirect_url, now)?;
    let expires_at = now.plus_ms(OWNER_TIMEOUT_MS);
    let (tenant, id, verifier) = (connection.tenant, connection.id, request.verifier);
    let url = request.url;
    let pending = Pending { tenant, connection: id, verifier, redirect_url, url: url.clone() };
    token::wait_for(&app.pool, &app.sealer, &request.state, &pending, expires_at).await?;
    // A state is of letters that a query takes as they are.
    let start_url = base(&pending.redirect_url)
        .map(|base| format!("{base}{START}?state={}", request.state.expose_secret()));
    Ok(StartedAuthorization { url, start_url, state: request.state, expires_at })
}

/// An authorization that an owner is about to give, for the page that names it.
#[derive(Debug)]
pub struct AwaitedAuthorization {
    /// Whose connection it is.
    pub tenant: String,
    /// What the connection is called.
    pub label: String,
    /// The provider's title.
    pub provider: String,
    /// The provider's address.
    pub url: String,
    /// Scheme and host of this API, as the browser knows them.
    pub origin: String,
}

/// The authorization that waits for this state.
pub async fn awaited(app: &App, state: &SecretString) -> Result<AwaitedAuthorization, AuthoriseError> {
    let pending = token::look_at(&app.pool, &app.sealer, state, app.clock.now()).await?;
    let pending = pending.ok_or(AuthoriseError::Stale)?;
    let origin = base(&pending.redirect_url).ok_or(AuthoriseError::Stale)?.to_owned();
    let (tenant, label) = named(app, pending.connection).await?;
    let found = connections::by_number(&app.pool, pending.tenant, pending.connection.0).await?;
    let provider = app.registry.find(&found.provider)?.definition.title.clone();
    Ok(AwaitedAuthorization { tenant, label, provider, url: pending.url, origin })
}

/// Whose a connection is, and what it is called.
pub async fn named(app: &App, connection: ConnectionId) -> Result<(String, String), AuthoriseError> {
    let name = connections::names(&app.pool, &[connection.0]).await?.pop();
    let name = name.ok_or_else(|| ConnectionError::Unknown(connection.to_string()))?;
    Ok((name.tenant, name.label))
}

/// Ends an authorisation by its callback. A state is good once.
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
    let reserved = reserve_request(app, &client, connection.id).await?;
    let now = app.clock.now();
    let granted = client.fetcher.exchange(&connection, code, verifier, redirect_url, now).await;
    reserved.end(granted.as_ref().map_or_else(NoToken::end, |_| End::Good)).await;
    allowed(app, &connection, &granted?, now).await?;
    Ok((pending.tenant, pending.connection))
}

/// A code for the owner to type in on another device.
pub async fn device_code(
    app: &App,
    provider: &Arc<Provider>,
    connection: &Connection,
) -> Result<DeviceCode, AuthoriseError> {
    need(provider, Flow::Device)?;
    let client = app.client(provider)?;
    let reserved = reserve_request(app, &client, connection.id).await?;
    let code = client.fetcher.device_code(connection, app.clock.now()).await;
    reserved.end(code.as_ref().map_or_else(NoToken::end, |_| End::Good)).await;
    Ok(code?)
}

/// Waits until the owner has typed the code in.
pub async fn finish_device(
    app: &App,
    provider: &Arc<Provider>,
    connection: &Connection,
    code: &DeviceCode,
) -> Result<(), AuthoriseError> {
    let client = app.client(provider)?;
    let deadline = Instant::now() + code.lifetime;
    let polls = Polls { app, client: &client, connection: connection.id, deadline };
    let granted = client.fetcher.device_token(connection, code, || app.clock.now(), &polls).await?;
    allowed(app, connection, &granted, app.clock.now()).await
}

/// The reservations of a device code's polls.
struct Polls<'a> {
    app: &'a App,
    client: &'a Arc<ProviderClient>,
    connection: ConnectionId,
    /// When the code expires.
    deadline: Instant,
}

impl Reservations for Polls<'_> {
    type Reserved = ReservedRequest;

    /// Waits until quotas and holds let the poll be sent, at most while the code is valid.
    async fn reserve(&self) -> Result<ReservedRequest, String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let reserved = reserve::reserve(self.app, self.client, self.connection, left).await;
        reserved.map_err(|NotYet { reason, .. }| reason)
    }

    async fn end(&self, reserved: ReservedRequest, end: End) {
        reserved.end(end).await;
    }
}

/// Reserves one request for a token, where a quota counts it.
async fn reserve_request(
    app: &App,
    client: &Arc<ProviderClient>,
    connection: ConnectionId,
) -> Result<ReservedRequest, AuthoriseError> {
    let reserved = reserve::reserve(app, client, connection, RESERVE_TIMEOUT).await;
    reserved.map_err(|NotYet { until, reason }| AuthoriseError::NotYet { until, reason })
}

/// Stores the token and makes the connection active, in one transaction.
async fn allowed(
    app: &App,
    connection: &Connection,
    granted: &Granted,
    asked_at: UnixMs,
) -> Result<(), AuthoriseError> {
    activation::allow(&app.pool, &app.sealer, connection, granted, asked_at).await?;
    tracing::info!(connection = connection.id.0, "connection is authorised");
    Ok(())
}

fn need(provider: &Provider, flow: Flow) -> Result<(), AuthoriseError> {
    let declared = provider.definition.auth.get_ref().oauth2.as_ref().map(|oauth2| oauth2.get_ref().flow);
    if declared == Some(flow) {
        return Ok(());
    }
    Err(AuthoriseError::OtherFlow {
        provider: provider.name.to_string(),
        way: match flow {
            Flow::Code => "a browser",
            Flow::Device => "a code on another device",
            Flow::Client => "its client alone",
        },
        instead: match declared {
            Some(Flow::Code) => "its owner allows it in a browser",
            Some(Flow::Device) => BY_CODE,
            Some(Flow::Client) | None => "its secrets are all that it needs",
        },
    })
}

/// The address of this API that a callback's address is of.
fn base(redirect_url: &str) -> Option<&str> {
    redirect_url.strip_suffix(CALLBACK)
}

/// What the operator registered at the provider, or this API's own callback.
fn redirect_url(app: &App, provider: &Provider) -> Result<String, AuthoriseError> {
    let operator = app.settings.provider.of(&provider.name);
    if let Some(url) = operator.get("redirect_url") {
        return Ok(url.expose_secret().to_owned());
    }
    match app.settings.http.public_url.trim_end_matches('/') {
        "" => Err(AuthoriseError::NoRedirectUrl(provider.name.to_string())),
        public => Ok(format!("{public}{CALLBACK}")),
    }
}
