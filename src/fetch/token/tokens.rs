//! Requests tokens by the method that a provider declares.

use super::login::Login;
use super::oauth::OAuth;
use super::token_context::TokenContext;
use crate::fetch::wire::Wire;
use crate::provider::Provider;
use crate::words::{Granted, NoToken, ProviderName};
use std::ops::Range;

/// The declared method, compiled.
pub(crate) enum Tokens {
    /// The provider has no tokens.
    None,
    Login(Login),
    OAuth(OAuth),
}

impl Tokens {
    /// Compiles the method. Errors have their position in the file.
    pub(crate) fn compile(provider: &Provider) -> Result<Self, Vec<(Range<usize>, String)>> {
        let auth = provider.definition.auth.get_ref();
        match (&auth.login, &auth.oauth2) {
            (Some(login), _) => Login::compile(login.get_ref()).map(Self::Login),
            (None, Some(oauth2)) => OAuth::compile(oauth2.get_ref()).map(Self::OAuth),
            (None, None) => Ok(Self::None),
        }
    }

    /// Requests a connection's next token.
    pub(crate) async fn next(&self, wire: &Wire, context: &TokenContext<'_>) -> Result<Granted, NoToken> {
        match self {
            Self::Login(login) => login.log_in(wire, context).await,
            Self::OAuth(oauth) => oauth.renew(wire, context).await,
            Self::None => Err(undeclared(&context.render.provider.name, "tokens")),
        }
    }

    /// The OAuth method by which owners authorize connections.
    pub(crate) fn oauth(&self, provider: &ProviderName) -> Result<&OAuth, NoToken> {
        match self {
            Self::OAuth(oauth) => Ok(oauth),
            Self::None | Self::Login(_) => Err(undeclared(provider, "authorization by account owners")),
        }
    }
}

fn undeclared(provider: &ProviderName, what: &str) -> NoToken {
    NoToken::Refused { reason: format!("the definition of {provider} declares no {what}") }
}
