//! A provider's way to tokens, whichever it declares.

use super::login::Login;
use super::oauth::OAuth;
use super::with::With;
use crate::fetch::wire::Wire;
use crate::provider::Provider;
use crate::words::{Granted, NoToken, ProviderName};
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

    /// Asks for a connection's next token.
    pub(crate) async fn next(&self, wire: &Wire, with: &With<'_>) -> Result<Granted, NoToken> {
        match self {
            Self::Login(login) => login.ask(wire, with).await,
            Self::OAuth(oauth) => oauth.renew(wire, with).await,
            Self::None => Err(no_way(&with.context.provider.name, "tokens")),
        }
    }

    /// The way on which owners allow connections.
    pub(crate) fn oauth(&self, provider: &ProviderName) -> Result<&OAuth, NoToken> {
        match self {
            Self::OAuth(oauth) => Ok(oauth),
            Self::None | Self::Login(_) => Err(no_way(provider, "owners to allow connections")),
        }
    }
}

fn no_way(provider: &ProviderName, what: &str) -> NoToken {
    NoToken::Refused { reason: format!("{provider} has no way for {what}") }
}
