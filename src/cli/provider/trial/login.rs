//! A request for a token.

use super::{Exchanges, Wanted};
use crate::cli::{CliError, Context};
use crate::fetch::Trace;
use crate::trial::{self, LoginOutcome, LoginRequest};
use crate::words::{Secrets, Token};
use serde::Serialize;
use std::fmt;

#[derive(Serialize)]
struct LoginReport {
    provider: String,
    #[serde(flatten)]
    trace: Trace,
    took_ms: u64,
    /// `granted`, `refused`, or `later` if a later request may succeed.
    outcome: &'static str,
    detail: String,
    token: Option<TokenView>,
    /// Whether the connection's calls carry the new token from now on.
    stored: bool,
}

/// What is known of a token, without the token.
#[derive(Serialize)]
struct TokenView {
    has_refresh_token: bool,
    renew_at: Option<String>,
    expires_at: Option<String>,
}

impl From<&Token> for TokenView {
    fn from(token: &Token) -> Self {
        Self {
            has_refresh_token: token.refresh.is_some(),
            renew_at: token.renew_at.map(|at| at.to_string()),
            expires_at: token.expires_at.map(|at| at.to_string()),
        }
    }
}

impl fmt::Display for LoginReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Exchanges(&self.trace, None).fmt(f)?;
        writeln!(f, "Took {} ms in all.", self.took_ms)?;
        match self.detail.as_str() {
            "" => writeln!(f, "Outcome: {}.", self.outcome)?,
            detail => writeln!(f, "Outcome: {}: {detail}", self.outcome)?,
        }
        if let Some(TokenView { has_refresh_token, renew_at, expires_at }) = &self.token {
            match renew_at.as_ref().zip(expires_at.as_ref()) {
                Some((renew, expire)) => {
                    writeln!(f, "The token is used until {expire}, and renewed at {renew}.")?
                }
                None => writeln!(
                    f,
                    "The response does not say how long the token lives: it is used until refused."
                )?,
            }
            if *has_refresh_token {
                writeln!(f, "There is a refresh token.")?;
            }
        }
        match self.stored {
            true => write!(f, "The connection's calls carry the new token."),
            false => write!(f, "No token was stored."),
        }
    }
}

/// Requests the token and shows what came back.
pub(super) async fn run(context: &Context, wanted: Wanted, secrets: Secrets) -> Result<(), CliError> {
    let request = LoginRequest {
        provider: wanted.provider.clone(),
        tenant: wanted.tenant,
        connection: wanted.connection,
        secrets,
        timeout: wanted.timeout,
    };
    let tried = context.until_interrupted(trial::try_login(&context.app, request)).await?;
    let tried = tried.map_err(CliError::refused)?;
    let (outcome, detail, token) = match &tried.outcome {
        LoginOutcome::Granted(token) => ("granted", String::new(), Some(token.into())),
        LoginOutcome::Refused(reason) => ("refused", reason.clone(), None),
        LoginOutcome::Later(reason) => ("later", reason.clone(), None),
    };
    let report = LoginReport {
        provider: wanted.provider.name.to_string(),
        trace: tried.trace,
        took_ms: tried.took.as_millis() as u64,
        outcome,
        detail,
        token,
        stored: tried.stored,
    };
    context.output.answer(&report)?;
    match outcome {
        "granted" => Ok(()),
        other => Err(CliError::refused(format!("outcome of the request for a token: {other}"))),
    }
}
