//! How requests carry a connection's credentials, and how those are named.

use super::login::Login;
use super::oauth2::{OAuth2, Whose};
use super::sign::Sign;
use crate::provider::http_text::check_header;
use crate::words::{Interval, Secrets};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;

/// How requests carry a connection's credentials.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// How requests carry the main credential.
    #[serde(default)]
    pub kind: AuthKind,
    /// `header`, `query`: the name of the header or query parameter.
    #[serde(default)]
    pub name: Option<String>,
    /// The name of the main secret; `secret` when absent. `basic`: it replaces user name and password.
    #[serde(default)]
    pub secret: Option<String>,
    /// A request that returns a token, which is then the main credential.
    #[serde(default)]
    #[schemars(with = "Option<Login>")]
    pub login: Option<Spanned<Login>>,
    /// How tokens are requested by OAuth 2.0; they are then the main credential.
    #[serde(default)]
    #[schemars(with = "Option<OAuth2>")]
    pub oauth2: Option<Spanned<OAuth2>>,
    /// How requests are signed.
    #[serde(default)]
    #[schemars(with = "Option<Sign>")]
    pub sign: Option<Spanned<Sign>>,
    /// Further keys that requests carry.
    #[serde(default, rename = "key")]
    #[schemars(with = "Vec<Key>")]
    pub keys: Vec<Spanned<Key>>,
}

/// How requests carry the main credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthKind {
    /// No credential.
    #[default]
    None,
    /// `Authorization: Bearer <secret>`.
    Bearer,
    /// In a header.
    Header,
    /// In a query parameter.
    Query,
    /// `Authorization: Basic …` from the secrets `username` and `password`, or from one secret and no password.
    Basic,
}

/// A key beside the main credential: in a `header` or in the `query`; the connection's `secret` or the `operator`'s.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The header that carries it.
    #[serde(default)]
    pub header: Option<String>,
    /// The query parameter that carries it.
    #[serde(default)]
    pub query: Option<String>,
    /// Its name among the connection's secrets.
    #[serde(default)]
    pub secret: Option<String>,
    /// Its name in the operator's `[provider.<name>]`.
    #[serde(default)]
    pub operator: Option<String>,
}

/// The description of a connection's secret.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// What it is, and where its owner finds it.
    pub about: String,
}

/// The secrets of `kind = "basic"`.
pub const BASIC: [&str; 2] = ["username", "password"];

impl Auth {
    /// Whether the account's owner must authorize the connection before the first call.
    pub fn needs_owner(&self) -> bool {
        self.oauth2.as_ref().is_some_and(|oauth2| oauth2.get_ref().needs_owner())
    }

    fn client_names(&self, whose: Whose) -> Vec<&'static str> {
        let oauth2 = self.oauth2.as_ref().map(Spanned::get_ref).filter(|oauth2| oauth2.client == whose);
        oauth2.map(OAuth2::client_names).unwrap_or_default()
    }

    /// Whether the main credential is a token that must be requested.
    pub fn has_tokens(&self) -> bool {
        self.login.is_some() || self.oauth2.is_some()
    }

    /// The main credential's name among the connection's secrets.
    pub fn main(&self) -> &str {
        self.secret.as_deref().unwrap_or(Secrets::ONLY)
    }

    /// The names of the secrets that each connection needs.
    pub fn secrets(&self) -> BTreeSet<&str> {
        let main = match self.kind {
            _ if self.has_tokens() => {
                let login = self.login.iter().flat_map(|login| names(&login.get_ref().secrets));
                login.chain(self.client_names(Whose::Connection)).collect()
            }
            AuthKind::None => Vec::new(),
            AuthKind::Basic if self.secret.is_none() => BASIC.to_vec(),
            _ => vec![self.main()],
        };
        let sign = self.sign.iter().flat_map(|sign| sign.get_ref().own_names());
        let keys = self.keys.iter().filter_map(|key| key.get_ref().secret.as_deref());
        main.into_iter().chain(sign).chain(keys).collect()
    }

    /// The names of the secrets that the operator must give.
    pub fn operators(&self) -> BTreeSet<&str> {
        let login = self.login.iter().flat_map(|login| names(&login.get_ref().operator));
        let sign = self.sign.iter().flat_map(|sign| sign.get_ref().operators_names());
        let login = login.chain(self.client_names(Whose::Operator)).chain(sign);
        login.chain(self.keys.iter().filter_map(|key| key.get_ref().operator.as_deref())).collect()
    }

    /// The shortest time between two token requests of a connection.
    pub fn token_interval_min(&self) -> Option<Interval> {
        let login = self.login.as_ref().map(|login| login.get_ref().interval_min);
        login.or(self.oauth2.as_ref().map(|oauth2| oauth2.get_ref().interval_min))
    }

    /// The URLs of token requests.
    pub fn token_urls(&self) -> impl Iterator<Item = &Spanned<String>> {
        let oauth2 = self.oauth2.iter().flat_map(|oauth2| oauth2.get_ref().urls()).map(|(_, url)| url);
        self.login.iter().map(|login| &login.get_ref().url).chain(oauth2)
    }

    /// The query parameters that hold credentials.
    pub fn query_names(&self) -> Vec<&str> {
        let main = (self.kind == AuthKind::Query).then_some(self.name.as_deref()).flatten();
        main.into_iter().chain(self.keys.iter().filter_map(|key| key.get_ref().query.as_deref())).collect()
    }

    /// Its contradictions.
    pub(crate) fn check(&self) -> Vec<(Range<usize>, String)> {
        let mut wrong = Vec::new();
        let mut say = |span: Range<usize>, text: String| wrong.push((span, format!("auth: {text}")));
        let named = matches!(self.kind, AuthKind::Header | AuthKind::Query);
        match &self.name {
            None if named => say(0..0, "kind = \"header\" and \"query\" need a name".to_owned()),
            Some(_) if !named => say(0..0, "name does not apply to this kind: leave it out".to_owned()),
            Some(name) if self.kind == AuthKind::Header => {
                check_header(name, "").into_iter().for_each(|m| say(0..0, m));
            }
            _ => {}
        }
        if self.has_tokens() && matches!(self.kind, AuthKind::None | AuthKind::Basic) {
            say(0..0, "calls carry a token by kind = \"bearer\", \"header\" or \"query\"".to_owned());
        }
        if self.has_tokens() && self.secret.is_some() {
            say(0..0, "calls carry the token instead of a secret: leave secret out".to_owned());
        }
        if self.kind == AuthKind::None && self.secret.is_some() {
            say(0..0, "secret needs a kind, which says how it is sent: set kind too".to_owned());
        }
        for key in &self.keys {
            let (span, key) = (key.span(), key.get_ref());
            if key.header.is_some() == key.query.is_some() {
                say(span.clone(), "a key is sent in a header or in the query: set one of them".to_owned());
            }
            if key.secret.is_some() == key.operator.is_some() {
                let text = "a key is the connection's secret or the operator's: set one of them";
                say(span.clone(), text.to_owned());
            }
            let header = key.header.as_deref().and_then(|name| check_header(name, ""));
            header.into_iter().for_each(|m| say(span.clone(), m));
        }
        for name in self.secrets().into_iter().chain(self.operators()) {
            check_name(name).into_iter().for_each(|m| say(0..0, m));
        }
        wrong.extend(self.login.iter().flat_map(|login| login.get_ref().check()));
        wrong.extend(self.sign.iter().flat_map(|sign| sign.get_ref().check()));
        wrong.extend(self.oauth2.iter().flat_map(|oauth2| oauth2.get_ref().check()));
        if let (Some(login), Some(_)) = (&self.login, &self.oauth2) {
            wrong.push((
                login.span(),
                "auth: tokens come from login or from oauth2: leave one out".to_owned(),
            ));
        }
        let mut names = self.query_names();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let text = format!("two credentials use the query parameter {:?}", pair[0]);
            wrong.push((0..0, format!("auth: {text}")));
        }
        wrong
    }
}

fn names(all: &[String]) -> impl Iterator<Item = &str> {
    all.iter().map(String::as_str)
}

/// The error of a name that the command line and the environment cannot express.
pub(crate) fn check_name(name: &str) -> Option<String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let is_name =
        name.len() <= 40 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(fits);
    (!is_name).then(|| format!("{name:?} is not a name for a secret: use lower-case letters, digits and '_'"))
}

#[cfg(test)]
mod tests {
    use crate::provider::parse;

    fn errors_of(auth: &str) -> Vec<String> {
        let text = format!(
            "title = \"T\"\n[http]\nbase_url = \"https://example.com\"\n{auth}\n[resource.state]\n\
             interval_min = \"10s\"\ninterval_default = \"1m\"\npath = \"/\"\nrecords = \".\"\n"
        );
        let errors = parse("t.toml", &text).err().unwrap_or_default();
        errors.into_iter().map(|error| format!("{}: {}", error.line, error.message)).collect()
    }

    #[test]
    fn impossible_auth_is_refused_with_its_line() {
        let login = "[auth.login]\nurl = \"/login\"\ntoken = \".t\"";
        for (auth, says) in [
            ("[auth]\nkind = \"query\"", "4: auth: kind = \"header\" and \"query\" need a name"),
            ("[auth]\nkind = \"bearer\"\nname = \"X\"", "name does not apply"),
            ("[auth]\nkind = \"header\"\nname = \"X Key\"", "\"X Key\" is not a header name"),
            ("[auth]\nsecret = \"key\"", "set kind too"),
            ("[auth]\nkind = \"bearer\"\nsecret = \"My Key\"", "\"My Key\" is not a name for a secret"),
            ("[[auth.key]]\nsecret = \"a\"", "4: auth: a key is sent in a header or in the query"),
            ("[[auth.key]]\nheader = \"X\"", "4: auth: a key is the connection's secret or the operator's"),
            (
                "[auth]\nkind = \"query\"\nname = \"k\"\n[[auth.key]]\nquery = \"k\"\nsecret = \"b\"",
                "two credentials use the query parameter \"k\"",
            ),
            ("[secret.other]\nabout = \"x\"", "auth uses no secret of this name"),
            (login, "calls carry a token by kind"),
            (&format!("[auth]\nkind = \"bearer\"\nsecret = \"a\"\n{login}"), "leave secret out"),
            (
                "[auth]\nkind = \"bearer\"\n[auth.login]\nurl = \"login\"\ntoken = \".t\"",
                "7: auth.login: url \"login\" is neither",
            ),
            (
                &format!("[auth]\nkind = \"bearer\"\n{login}\nmethod = \"GET\"\nform = {{ a = \"b\" }}"),
                "json and form are bodies of a POST",
            ),
        ] {
            let errors = errors_of(auth);
            assert!(errors.len() == 1 && errors[0].contains(says), "{auth}: {errors:#?}");
        }
        assert_eq!(errors_of(&format!("[auth]\nkind = \"bearer\"\n{login}")), [""; 0]);
    }
}
