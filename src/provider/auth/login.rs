//! A login: a request that returns a token, which calls then carry instead of a secret.

use crate::provider::call::{Method, WaitUnit};
use crate::provider::http_text::check_header;
use crate::words::{Interval, ResourceName};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;
use toml::Spanned;

/// The name of token requests where resources are named: in quotas that count them.
pub static TOKEN: LazyLock<ResourceName> = LazyLock::new(ResourceName::token);

/// A request that exchanges the connection's secrets for a token, which calls then carry as `kind` says. A new one is
/// requested before it expires, and once after it was refused.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Template: a whole URL, or a path below `base_url`. Templates here see `params`, `secrets`, `operator` and
    /// `request`.
    #[schemars(with = "String")]
    pub url: Spanned<String>,
    /// `POST` when absent.
    #[serde(default = "post")]
    pub method: Method,
    /// Templates of the query's values.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Templates of headers.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<Spanned<String>, String>,
    /// Template of a JSON body. Values are written as JSON, quotes included.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub json: Option<Spanned<String>>,
    /// Templates of the fields of a form.
    #[serde(default)]
    pub form: BTreeMap<String, String>,
    /// The names of the connection's secrets that the templates use.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// The names of the operator's secrets that the templates use.
    #[serde(default)]
    pub operator: Vec<String>,
    /// jq over the response: the token.
    #[schemars(with = "String")]
    pub token: Spanned<String>,
    /// jq over the response: the token's lifetime, in `unit`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub lifetime: Option<Spanned<String>>,
    /// The unit of `lifetime`.
    #[serde(default)]
    pub unit: WaitUnit,
    /// The token's lifetime if the response reports none; when absent, until it is refused.
    #[serde(default)]
    pub lifetime_default: Option<Interval>,
    /// jq over the response: true if the credentials are refused. The statuses 400, 401 and 403 refuse them too.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub refused: Option<Spanned<String>>,
    /// The shortest time between two logins of a connection; 30s when absent.
    #[serde(default = "default_interval_min")]
    pub interval_min: Interval,
}

fn post() -> Method {
    Method::Post
}

fn default_interval_min() -> Interval {
    Interval::from_ms(30_000).unwrap_or(Interval::MIN)
}

impl Login {
    /// Its contradictions.
    pub(crate) fn check(&self) -> Vec<(Range<usize>, String)> {
        let mut wrong = Vec::new();
        let mut say = |span: Range<usize>, text: String| wrong.push((span, format!("auth.login: {text}")));
        let url = self.url.get_ref();
        if !url.starts_with('/') && !url.contains("://") {
            say(self.url.span(), format!("url {url:?} is neither a whole URL nor a path that begins with /"));
        }
        let bodies = usize::from(self.json.is_some()) + usize::from(!self.form.is_empty());
        if bodies == 2 {
            say(self.url.span(), "a request has one body: leave out json or form".to_owned());
        } else if bodies == 1 && self.method == Method::Get {
            say(self.url.span(), "json and form are bodies of a POST".to_owned());
        }
        for (name, value) in &self.headers {
            check_header(name.get_ref(), value).into_iter().for_each(|text| say(name.span(), text));
        }
        wrong
    }
}
