//! OAuth 2.0 (RFC 6749): how a provider's tokens are asked for and renewed.

use crate::words::Interval;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// How tokens are asked for and renewed. Calls carry them as `kind` says. URLs are templates that see `params`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// How an owner allows it.
    pub flow: Flow,
    /// `code`: where the owner goes to allow it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub authorize_url: Option<Spanned<String>>,
    /// `device`: where a code for the owner is asked for.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub device_url: Option<Spanned<String>>,
    /// Where tokens are asked for and renewed.
    #[schemars(with = "String")]
    pub token_url: Spanned<String>,
    /// The client's id, where it is the same for everybody.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Whose the client is: who gives `client_id` and `client_secret`.
    #[serde(default)]
    pub client: Whose,
    /// How the client shows who it is.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// What is asked to be allowed.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// `code`: whether the way back is proven (RFC 7636); it is when absent.
    #[serde(default = "yes")]
    pub pkce: bool,
    /// More parameters of `authorize_url`.
    #[serde(default)]
    pub authorize_params: BTreeMap<String, String>,
    /// More parameters of every request for a token.
    #[serde(default)]
    pub token_params: BTreeMap<String, String>,
    /// jq: makes of an odd answer what RFC 6749 has: `access_token`, `refresh_token`, `expires_in`; or `error`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub answer: Option<Spanned<String>>,
    /// How long a token lives where that is not told; absent: until it is refused.
    #[serde(default)]
    pub lifetime_default: Option<Interval>,
    /// The least from one renewal of a connection's token to its next, whatever comes; 10s when absent.
    #[serde(default = "default_apart")]
    pub interval_min: Interval,
}

/// How an owner allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// In a browser, which comes back with a code (RFC 6749, 4.1).
    Code,
    /// On any device, by a code that is typed in there (RFC 8628).
    Device,
    /// Not at all: the client asks for itself (RFC 6749, 4.4).
    Client,
}

/// Whose a client is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// The operator's, for all connections.
    #[default]
    Operator,
    /// Each connection's own.
    Connection,
}

/// How a client shows who it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// By `Authorization: Basic …`.
    #[default]
    Basic,
    /// In the body.
    Body,
    /// By its id alone: it has no secret.
    None,
}

fn yes() -> bool {
    true
}

fn default_apart() -> Interval {
    Interval::from_ms(10_000).unwrap_or(Interval::MIN)
}

/// What a client is called among secrets.
pub const CLIENT: [&str; 2] = ["client_id", "client_secret"];

impl OAuth2 {
    /// Whether an owner must allow it before the first call.
    pub fn needs_owner(&self) -> bool {
        self.flow != Flow::Client
    }

    /// The names of what the client's owner must give.
    pub fn client_names(&self) -> Vec<&'static str> {
        let id = self.client_id.is_none().then_some(CLIENT[0]);
        let secret = (self.client_auth != ClientAuth::None).then_some(CLIENT[1]);
        id.into_iter().chain(secret).collect()
    }

    /// Every URL that is called, by name.
    pub fn urls(&self) -> impl Iterator<Item = (&'static str, &Spanned<String>)> {
        let device = self.device_url.as_ref().map(|url| ("device_url", url));
        [("token_url", &self.token_url)].into_iter().chain(device)
    }

    /// What it contradicts itself in.
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
            say("authorize_params mean nothing to this flow: leave them out");
        }
        if self.flow == Flow::Client && self.client_auth == ClientAuth::None {
            say("flow = \"client\" needs the client's secret: say client_auth = \"basic\" or \"body\"");
        }
        wrong
    }
}
