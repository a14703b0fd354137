//! OAuth 2.0 (RFC 6749): how a provider's tokens are requested and renewed.

use crate::words::Interval;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// How tokens are requested and renewed. Calls carry them as `kind` says. URLs are templates that see `params`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// How an owner authorizes a connection.
    pub flow: Flow,
    /// `code`: where the owner's browser goes to authorize the connection.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub authorize_url: Option<Spanned<String>>,
    /// `device`: where the code for the owner is requested.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub device_url: Option<Spanned<String>>,
    /// Where tokens are requested and renewed.
    #[schemars(with = "String")]
    pub token_url: Spanned<String>,
    /// The client's id, if it is the same for every operator.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Who owns the client and sets `client_id` and `client_secret`.
    #[serde(default)]
    pub client: Whose,
    /// How the client authenticates.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// The requested scopes.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// `code`: whether the callback is protected by PKCE (RFC 7636); true when absent.
    #[serde(default = "yes")]
    pub pkce: bool,
    /// Further parameters of `authorize_url`.
    #[serde(default)]
    pub authorize_params: BTreeMap<String, String>,
    /// Further parameters of every token request.
    #[serde(default)]
    pub token_params: BTreeMap<String, String>,
    /// jq: converts a nonstandard response to that of RFC 6749: `access_token`, `refresh_token`, `expires_in`; or
    /// `error`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub answer: Option<Spanned<String>>,
    /// A token's lifetime if the response reports none; when absent, until it is refused.
    #[serde(default)]
    pub lifetime_default: Option<Interval>,
    /// The shortest time between two renewals of a connection's token; 10s when absent.
    #[serde(default = "default_interval_min")]
    pub interval_min: Interval,
}

/// How an owner authorizes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// In a browser, which is redirected back with a code (RFC 6749, 4.1).
    Code,
    /// On any device, by typing in a code (RFC 8628).
    Device,
    /// Not at all: the client requests tokens for itself (RFC 6749, 4.4).
    Client,
}

/// Who owns a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// The operator's, for all connections.
    #[default]
    Operator,
    /// Each connection's own.
    Connection,
}

/// How a client authenticates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// With `Authorization: Basic …`.
    #[default]
    Basic,
    /// In the body.
    Body,
    /// With its id only: it has no secret.
    None,
}

fn yes() -> bool {
    true
}

fn default_interval_min() -> Interval {
    Interval::from_ms(10_000).unwrap_or(Interval::MIN)
}

/// The names of a client's id and secret.
pub const CLIENT: [&str; 2] = ["client_id", "client_secret"];

impl OAuth2 {
    /// Whether the account's owner must authorize the connection before the first call.
    pub fn needs_owner(&self) -> bool {
        self.flow != Flow::Client
    }

    /// The names of the secrets that the client's owner must set.
    pub fn client_names(&self) -> Vec<&'static str> {
        let id = self.client_id.is_none().then_some(CLIENT[0]);
        let secret = (self.client_auth != ClientAuth::None).then_some(CLIENT[1]);
        id.into_iter().chain(secret).collect()
    }

    /// Every URL that is requested, by name.
    pub fn urls(&self) -> impl Iterator<Item = (&'static str, &Spanned<String>)> {
        let device = self.device_url.as_ref().map(|url| ("device_url", url));
        [("token_url", &self.token_url)].into_iter().chain(device)
    }

    /// Its contradictions.
    pub(crate) fn check(&self) -> Vec<(Range<usize>, String)> {
        let mut wrong = Vec::new();
        let span = self.token_url.span();
        let mut say = |text: &str| wrong.push((span.clone(), format!("auth.oauth2: {text}")));
        let (code, device) = (self.flow == Flow::Code, self.flow == Flow::Device);
        if code != self.authorize_url.is_some() {
            say("flow = \"code\" has an authorize_url, and no other has");
        }
        if device != self.device_url.is_some() {
            say("flow = \"device\" has a device_url, and no other has");
        }
        if !code && !self.authorize_params.is_empty() {
            say("authorize_params do not apply to this flow: leave them out");
        }
        if self.flow == Flow::Client && self.client_auth == ClientAuth::None {
            say("flow = \"client\" needs the client's secret: set client_auth = \"basic\" or \"body\"");
        }
        wrong
    }
}
