//! How a provider's tokens are asked for, in whatever way it declares.

use super::Fetcher;
use super::token::{AuthorizationRequest, DeviceCode, OAuth, With};
use crate::words::{Connection, Granted, NoToken, UnixMs};
use secrecy::SecretString;

impl Fetcher {
    /// Asks for a connection's next token.
    pub async fn token(&self, connection: &Connection, now: UnixMs) -> Result<Granted, NoToken> {
        self.tokens.next(&self.wire, &self.with(connection, now)).await
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
        self.tokens.oauth(&self.provider.name)
    }

    fn with<'a>(&'a self, connection: &'a Connection, now: UnixMs) -> With<'a> {
        With {
            context: self.preparer.context(connection, now),
            preparer: &self.preparer,
            off_runtime: &self.off_runtime,
        }
    }
}
