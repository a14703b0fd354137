//! One request for a token, with the connection's secrets or with others.

use super::TrialError;
use crate::adhoc::AdHocError;
use crate::app::App;
use crate::authorise::{Authoriser, Ready};
use crate::fetch::Trace;
use crate::keep;
use crate::preference::{connections, refusals};
use crate::provider::Provider;
use crate::words::{Connection, ConnectionId, ConnectionState, NoToken, Secrets, TenantId, Token};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What to try.
#[derive(Debug)]
pub struct LoginRequest {
    /// Where.
    pub provider: Arc<Provider>,
    /// Whose.
    pub tenant: TenantId,
    /// With which account.
    pub connection: ConnectionId,
    /// With these secrets in the place of the connection's own, if there are any.
    pub secrets: Secrets,
    /// How long to wait for the quotas.
    pub timeout: Duration,
}

/// What became of it.
#[derive(Debug)]
pub struct LoginTrial {
    /// What was sent and what came back, without secrets.
    pub trace: Trace,
    /// What it came to.
    pub outcome: LoginOutcome,
    /// From the request to the answer.
    pub took: Duration,
    /// Whether the connection's calls carry the new token from now on.
    pub stored: bool,
}

/// What a request for a token came to.
#[derive(Debug)]
pub enum LoginOutcome {
    /// A token.
    Granted(Token),
    /// The secrets are refused.
    Refused(String),
    /// A later request may succeed.
    Later(String),
}

/// Requests a token, as soon as the quotas that count these let it. With the connection's own secrets it is a renewal:
/// the new token is stored, since it may have ended the previous one. With others nothing is stored.
pub async fn try_login(app: &App, request: LoginRequest) -> Result<LoginTrial, TrialError> {
    let sent = app.run_detached(|app, _| async move { send(&app, &request).await }).await;
    sent.map_err(AdHocError::from)?
}

async fn send(app: &App, wanted: &LoginRequest) -> Result<LoginTrial, TrialError> {
    let provider = &wanted.provider;
    if !provider.definition.auth.get_ref().has_tokens() {
        return Err(TrialError::NoTokens(provider.name.to_string()));
    }
    let varies = provider.has_quota_inputs();
    let opened = connections::open(&app.pool, &app.sealer, &[wanted.connection.0], varies).await?;
    let own = opened.into_iter().find(|connection| connection.tenant == wanted.tenant);
    let connection = own.ok_or(AdHocError::Unusable)?;
    match connection.state {
        ConnectionState::Paused => return Err(AdHocError::Paused.into()),
        ConnectionState::Closed => return Err(AdHocError::Closed.into()),
        ConnectionState::Active | ConnectionState::NeedsReauth => {}
    }
    let was = connection.state;
    keep::rebuild_if_lost(app, &provider.name).await.map_err(AdHocError::from)?;
    let authoriser = Authoriser::new(app, provider).map_err(AdHocError::from)?;
    let began = Instant::now();
    if wanted.secrets.iter().next().is_some() {
        let other = Connection { secrets: wanted.secrets.clone(), token: None, ..connection };
        let asked_at = app.clock.now();
        let asked = authoriser.request_traced(&other, wanted.timeout).await;
        let (answer, trace) = asked.map_err(TrialError::TokenNotYet)?;
        let outcome = match answer {
            Ok(granted) => LoginOutcome::Granted(Token::first(&granted, asked_at)),
            Err(NoToken::Refused { reason }) => LoginOutcome::Refused(reason),
            Err(NoToken::Later { reason, .. }) => LoginOutcome::Later(reason),
        };
        return Ok(LoginTrial { trace, outcome, took: began.elapsed(), stored: false });
    }
    let (ready, trace) = authoriser.renew_traced(&Arc::new(connection), wanted.timeout).await?;
    let outcome = match ready {
        Ready::NotYet(until, reason) if trace.exchanges.is_empty() => {
            return Err(TrialError::TokenNotYet(format!("{reason}; try again at {until}")));
        }
        Ready::NotYet(_, reason) => LoginOutcome::Later(reason),
        Ready::Refused(reason) => LoginOutcome::Refused(reason),
        Ready::Go(connection) => match connection.token.clone() {
            Some(token) => LoginOutcome::Granted(token),
            None => LoginOutcome::Later("the connection has no token".to_owned()),
        },
    };
    let stored = matches!(outcome, LoginOutcome::Granted(_));
    if stored && was == ConnectionState::NeedsReauth {
        refusals::restore(&app.pool, &[wanted.connection.0]).await?;
    }
    Ok(LoginTrial { trace, outcome, took: began.elapsed(), stored })
}
