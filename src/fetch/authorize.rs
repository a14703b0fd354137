//! Token requests of a provider, by the method that its definition declares.

use super::Fetcher;
use super::token::{AuthorizationRequest, DeviceCode, OAuth, Reservations, TokenContext};
use super::trace::Trace;
use crate::words::{Connection, Granted, NoToken, UnixMs};
use secrecy::SecretString;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

impl Fetcher {
    /// Lets requests for tokens take longer than calls: a refresh token that rotates is spent by the request, and the
    /// response that comes late has the next one.
    #[must_use]
    pub fn with_token_timeout(mut self, timeout: Duration) -> Self {
        self.token_timeout = self.token_timeout.max(timeout);
        self
    }

    /// How long a request for a token may take.
    pub fn token_timeout(&self) -> Duration {
        self.token_timeout
    }

    /// Requests a connection's next token.
    pub async fn token(&self, connection: &Connection, now: UnixMs) -> Result<Granted, NoToken> {
        self.tokens.next(&self.wire, &self.token_context(connection, now)).await
    }

    /// Requests a connection's next token, and returns the HTTP exchanges too, without any secret.
    pub async fn token_traced(
        &self,
        connection: &Connection,
        now: UnixMs,
    ) -> (Result<Granted, NoToken>, Trace) {
        let trace = Mutex::default();
        let context = TokenContext { trace: Some(&trace), ..self.token_context(connection, now) };
        let granted = self.tokens.next(&self.wire, &context).await;
        context.redact_trace(granted.as_ref().ok());
        (granted, trace.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Builds the request to the owner to authorize a connection. The provider redirects the owner to `redirect_url`.
    pub fn authorization_request(
        &self,
        connection: &Connection,
        redirect_url: &str,
        now: UnixMs,
    ) -> Result<AuthorizationRequest, NoToken> {
        self.oauth()?.authorization_request(&self.token_context(connection, now), redirect_url)
    }

    /// Exchanges the code of the callback to `redirect_url` for the first token.
    pub async fn exchange(
        &self,
        connection: &Connection,
        code: &SecretString,
        verifier: Option<&SecretString>,
        redirect_url: &str,
        now: UnixMs,
    ) -> Result<Granted, NoToken> {
        let sent = std::iter::once(code).chain(verifier).collect();
        let context = TokenContext { sent, ..self.token_context(connection, now) };
        self.oauth()?.exchange(&self.wire, &context, code, verifier, redirect_url).await
    }

    /// Requests a code for the owner to enter on another device.
    pub async fn device_code(&self, connection: &Connection, now: UnixMs) -> Result<DeviceCode, NoToken> {
        self.oauth()?.device_code(&self.wire, &self.token_context(connection, now)).await
    }

    /// Waits until the owner has entered the code, at most while the code is valid, and returns the first token. Each
    /// poll is sent under a reservation of its own.
    pub async fn device_token(
        &self,
        connection: &Connection,
        code: &DeviceCode,
        now: impl Fn() -> UnixMs + Send + Sync,
        reservations: &impl Reservations,
    ) -> Result<Granted, NoToken> {
        let context = self.token_context(connection, now());
        self.oauth()?.device_token(&self.wire, &context, code, now, reservations).await
    }

    fn oauth(&self) -> Result<&OAuth, NoToken> {
        self.tokens.oauth(&self.provider.name)
    }

    fn token_context<'a>(&'a self, connection: &'a Connection, now: UnixMs) -> TokenContext<'a> {
        TokenContext {
            render: self.preparer.context(connection, now),
            preparer: &self.preparer,
            off_runtime: &self.off_runtime,
            timeout: self.token_timeout,
            sent: Vec::new(),
            trace: None,
        }
    }
}
