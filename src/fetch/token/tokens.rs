//! How a provider's tokens are asked for, in whatever way it declares.

use super::login::{Login, With};
use super::oauth::{AuthorizationRequest, DeviceCode, OAuth};
use crate::fetch::Fetcher;
use crate::provider::Provider;
use crate::words::{Connection, Granted, NoToken, UnixMs};
use secrecy::SecretString;
use std::ops::Range;

/// The declared way, compiled.
pub(crate) enum Tokens {
    /// There are none.
    None,
    Login(Login),
    OAuth(OAuth),
}

impl Tokens {
    /// Compiles it; or what is wrong, with its place in the file.
    pub(crate) fn compile(provider: &Provider) -> Result<Self, Vec<(Range<usize>, String)>> {
        let auth = provider.definition.auth.get_ref();
        match (&auth.login, &auth.oauth2) {
            (Some(login), _) => Login::compile(login.get_ref()).map(Self::Login),
            (None, Some(oauth2)) => OAuth::compile(oauth2.get_ref()).map(Self::OAuth),
            (None, None) => Ok(Self::None),
        }
    }
}

impl Fetcher {
    /// Asks for a connection's next token.
    pub async fn token(&self, connection: &Connection, now: UnixMs) -> Result<Granted, NoToken> {
        let with = self.with(connection, now);
        match &self.tokens {
            Tokens::Login(login) => login.ask(&self.wire, &with).await,
            Tokens::OAuth(oauth) => oauth.renew(&self.wire, &with).await,
            Tokens::None => Err(self.no_way("tokens")),
        }
    }

    /// Where its owner must go to allow a connection, and come back to `redirect_url` from.
    pub fn journey(
        &self,
        connection: &Connection,
        redirect_url: &str,
        now: UnixMs,
    ) -> Result<AuthorizationRequest, NoToken> {
        self.oauth()?.journey(&self.with(connection, now), redirect_url)
    }

    /// The first token, for the code that the owner came back to `redirect_url` with.
    pub async fn exchange(
        &self,
        connection: &Connection,
        code: &str,
        verifier: Option<&SecretString>,
        redirect_url: &str,
        now: UnixMs,
    ) -> Result<Granted, NoToken> {
        let with = self.with(connection, now);
        self.oauth()?.exchange(&self.wire, &with, code, verifier, redirect_url).await
    }

    /// A code for the owner to type in somewhere else.
    pub async fn device_code(&self, connection: &Connection, now: UnixMs) -> Result<DeviceCode, NoToken> {
        self.oauth()?.device_code(&self.wire, &self.with(connection, now)).await
    }

    /// The first token, once the owner has typed the code in. Waits for that as long as the code is good.
    pub async fn device_token(
        &self,
        connection: &Connection,
        code: &DeviceCode,
        now: impl Fn() -> UnixMs + Send + Sync,
    ) -> Result<Granted, NoToken> {
        let with = self.with(connection, now());
        self.oauth()?.device_token(&self.wire, &with, code, now).await
    }

    fn oauth(&self) -> Result<&OAuth, NoToken> {
        match &self.tokens {
            Tokens::OAuth(oauth) => Ok(oauth),
            Tokens::None | Tokens::Login(_) => Err(self.no_way("owners to allow connections")),
        }
    }

    pub(crate) fn with<'a>(&'a self, connection: &'a Connection, now: UnixMs) -> With<'a> {
        With {
            provider: &self.provider,
            connection,
            operator: &self.operator,
            headers: &self.headers,
            requests: &self.requests,
            signer: self.signer.as_ref(),
            now,
        }
    }

    fn no_way(&self, what: &str) -> NoToken {
        NoToken::Refused { reason: format!("{} has no way for {what}", self.provider.name) }
    }
}
