//! How a connection's credentials travel, and what they are called.

use super::check::check_header;
use crate::words::Secrets;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;

/// How a connection's credentials travel.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// How the main one does.
    #[serde(default)]
    pub kind: AuthKind,
    /// `header`, `query`: the header's or the query parameter's name.
    #[serde(default)]
    pub name: Option<String>,
    /// What the main one is called; `secret` when absent. `basic`: it stands in the place of a name and a password.
    #[serde(default)]
    pub secret: Option<String>,
    /// Keys that travel beside it.
    #[serde(default, rename = "key")]
    #[schemars(with = "Vec<Key>")]
    pub keys: Vec<Spanned<Key>>,
}

/// How the main credential travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthKind {
    /// There is none.
    #[default]
    None,
    /// `Authorization: Bearer <secret>`.
    Bearer,
    /// In a header.
    Header,
    /// In a query parameter.
    Query,
    /// `Authorization: Basic …` of the secrets `username` and `password`; or of one secret and no password.
    Basic,
}

/// A key beside the main credential: in a `header` or in the `query`, a connection's `secret` or the `operator`'s.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The header that it stands in.
    #[serde(default)]
    pub header: Option<String>,
    /// The query parameter that it stands in.
    #[serde(default)]
    pub query: Option<String>,
    /// What it is called among the connection's secrets.
    #[serde(default)]
    pub secret: Option<String>,
    /// What it is called in the operator's `[provider.<name>]`.
    #[serde(default)]
    pub operator: Option<String>,
}

/// What a definition says of one of a connection's secrets or params.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// What it is, and where its owner finds it.
    pub about: String,
}

/// What the definition says of one of a connection's params.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// What it is, and where its owner finds it.
    pub about: String,
    /// What it is where a connection does not say; without, each must.
    #[serde(default)]
    pub default: Option<String>,
}

/// Of `kind = "basic"`.
pub const BASIC: [&str; 2] = ["username", "password"];

impl Auth {
    /// What the main credential is called among the connection's secrets.
    pub fn main(&self) -> &str {
        self.secret.as_deref().unwrap_or(Secrets::ONLY)
    }

    /// The names of the secrets that each connection needs.
    pub fn secrets(&self) -> BTreeSet<&str> {
        let main = match self.kind {
            AuthKind::None => Vec::new(),
            AuthKind::Basic if self.secret.is_none() => BASIC.to_vec(),
            _ => vec![self.main()],
        };
        main.into_iter().chain(self.keys.iter().filter_map(|key| key.get_ref().secret.as_deref())).collect()
    }

    /// The names of the secrets that the operator must give.
    pub fn operators(&self) -> BTreeSet<&str> {
        self.keys.iter().filter_map(|key| key.get_ref().operator.as_deref()).collect()
    }

    /// The query parameters that hold credentials.
    pub fn query_names(&self) -> Vec<&str> {
        let main = (self.kind == AuthKind::Query).then_some(self.name.as_deref()).flatten();
        main.into_iter().chain(self.keys.iter().filter_map(|key| key.get_ref().query.as_deref())).collect()
    }

    /// What it contradicts itself in.
    pub(super) fn check(&self) -> Vec<(Range<usize>, String)> {
        let mut wrong = Vec::new();
        let mut say = |span: Range<usize>, text: String| wrong.push((span, format!("auth: {text}")));
        let named = matches!(self.kind, AuthKind::Header | AuthKind::Query);
        match &self.name {
            None if named => say(0..0, "kind = \"header\" and \"query\" need a name".to_owned()),
            Some(_) if !named => say(0..0, "name means nothing to this kind: leave it out".to_owned()),
            Some(name) if self.kind == AuthKind::Header => {
                check_header(name, "").into_iter().for_each(|m| say(0..0, m));
            }
            _ => {}
        }
        if self.kind == AuthKind::None && self.secret.is_some() {
            say(0..0, "secret names what kind says how to send: say kind too".to_owned());
        }
        for key in &self.keys {
            let (span, key) = (key.span(), key.get_ref());
            if key.header.is_some() == key.query.is_some() {
                say(span.clone(), "a key stands in a header or in the query: say one".to_owned());
            }
            if key.secret.is_some() == key.operator.is_some() {
                let text = "a key is the connection's secret or the operator's: name one";
                say(span.clone(), text.to_owned());
            }
            let header = key.header.as_deref().and_then(|name| check_header(name, ""));
            header.into_iter().for_each(|m| say(span.clone(), m));
        }
        for name in self.secrets().into_iter().chain(self.operators()) {
            check_name(name).into_iter().for_each(|m| say(0..0, m));
        }
        let mut names = self.query_names();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            say(0..0, format!("two credentials would stand in the query parameter {:?}", pair[0]));
        }
        wrong
    }
}

/// A name as the command line and the environment can say it.
pub(super) fn check_name(name: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let is_name =
        name.len() <= 40 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(fits);
    (!is_name).then(|| format!("{name:?} is no name of a secret: use lower-case letters, digits and '_'"))
}
