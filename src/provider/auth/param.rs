//! The params of a connection: what they are, and what their values may be.

use crate::provider::http_text::check_host;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The description of a connection's param.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Param {
    /// What it is, and where its owner finds it.
    pub about: String,
    /// Its value where a connection sets none; without a default, it is required.
    #[serde(default)]
    pub default: Option<String>,
    /// What its values may be.
    #[serde(default)]
    pub kind: ParamKind,
    /// The values of `kind = "choice"`.
    #[serde(default)]
    pub choices: Vec<String>,
}

/// What a param's values may be.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ParamKind {
    /// Any text.
    #[default]
    Text,
    /// A host's name or address, and perhaps a port.
    Host,
    /// An http or https address: host, perhaps port and path.
    Url,
    /// What a path or query takes as it stands: letters, digits, `-`, `_`, `.`, `:`, `@`, `+`, `=` and `~`.
    Id,
    /// One of `choices`.
    Choice,
}

impl Param {
    /// What is wrong with its declaration.
    pub(in crate::provider) fn check(&self, name: &str) -> Option<String> {
        match (self.kind, self.choices.is_empty()) {
            (ParamKind::Choice, true) => {
                return Some(format!("param.{name} is a choice without choices: list them"));
            }
            (ParamKind::Choice, false) | (_, true) => {}
            _ => return Some(format!("param.{name} has choices, which only kind = \"choice\" has")),
        }
        let default = self.default.as_deref().filter(|default| !default.is_empty())?;
        self.refusal(default).map(|why| format!("the default of param.{name} {why}"))
    }

    /// Why a value is not of its kind; none if it is. The text goes on after what the value is.
    pub(in crate::provider) fn refusal(&self, value: &str) -> Option<String> {
        let is_good = match self.kind {
            ParamKind::Text => true,
            ParamKind::Host => is_authority(value),
            ParamKind::Url => host_of_url(value).is_some(),
            ParamKind::Id => {
                let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@+=~".contains(&b);
                // `.` and `..` would climb in a path.
                !value.is_empty() && value.bytes().all(fits) && !value.bytes().all(|b| b == b'.')
            }
            ParamKind::Choice => self.choices.iter().any(|choice| choice == value),
        };
        let why = match self.kind {
            ParamKind::Host => "is not a host: write its name only, as in api.example.com".to_owned(),
            ParamKind::Url => {
                "is not an address: write one as in https://example.com/path, without a user name, a \
                               query or a fragment"
                    .to_owned()
            }
            ParamKind::Id => "is not an id: letters, digits, and - _ . : @ + = ~ are allowed".to_owned(),
            ParamKind::Choice => format!("is not one of {}", self.choices.join(", ")),
            ParamKind::Text => return None,
        };
        (!is_good).then_some(why)
    }

    /// The host that a value names, in lower case and without a port; none if it names none.
    pub(in crate::provider) fn host_in(&self, value: &str) -> Option<String> {
        match self.kind {
            ParamKind::Host => Some(host_of(value)),
            ParamKind::Url => host_of_url(value),
            ParamKind::Text | ParamKind::Id | ParamKind::Choice => None,
        }
    }
}

/// Host and perhaps port.
fn is_authority(text: &str) -> bool {
    let parsed = text.parse::<http::uri::Authority>();
    parsed.is_ok_and(|parsed| {
        let host = parsed.host();
        let is_host = host.starts_with('[') || check_host(host).is_none() && !host.starts_with('*');
        let port = text.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
        is_host && (text == host || port.is_some_and(|port| port.parse::<u16>().is_ok()))
    })
}

fn host_of(authority: &str) -> String {
    let parsed = authority.parse::<http::uri::Authority>();
    parsed.map(|parsed| parsed.host().to_ascii_lowercase()).unwrap_or_default()
}

fn host_of_url(text: &str) -> Option<String> {
    let url = text.parse::<http::Uri>().ok()?;
    let is_plain = !text.contains(['#', '?']) && matches!(url.scheme_str(), Some("http" | "https"));
    let authority = url.authority()?.as_str();
    (is_plain && is_authority(authority)).then(|| host_of(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: ParamKind) -> Param {
        let choices =
            if kind == ParamKind::Choice { vec!["eu".to_owned(), "us".to_owned()] } else { Vec::new() };
        Param { about: String::new(), default: None, kind, choices }
    }

    #[test]
    fn values_are_of_their_kind() {
        for (kind, good, bad) in [
            (
                ParamKind::Host,
                vec!["eu1.example.com", "10.0.0.5", "[::1]:8080", "localhost", "a.b:8443"],
                vec![
                    "",
                    "https://a.b",
                    "a.b/c",
                    "a.b?c",
                    "u@a.b",
                    "a b",
                    "*.a.b",
                    "a.b:",
                    "a.b:99999",
                    "a.b#c",
                    "ä.b",
                    "a.b:x",
                    ".",
                    "a\\b",
                ],
            ),
            (
                ParamKind::Url,
                vec!["https://a.b", "http://10.0.0.5:8123/x/y", "https://[::1]/"],
                vec![
                    "",
                    "a.b",
                    "ftp://a.b",
                    "https://u:p@a.b",
                    "https://a.b?q=1",
                    "https://a.b#f",
                    "https://",
                    "/x",
                ],
            ),
            (
                ParamKind::Id,
                vec!["app-1", "42", "a.b:c@d"],
                vec!["", "a/b", "a?b", "a b", "..", ".", "a%2f", "a#", "é"],
            ),
            (ParamKind::Choice, vec!["eu"], vec!["", "EU", "asia"]),
            (ParamKind::Text, vec!["", "anything / at all?"], vec![]),
        ] {
            let param = of(kind);
            for value in good {
                assert_eq!(param.refusal(value), None, "{kind:?} {value}");
            }
            for value in bad {
                assert!(param.refusal(value).is_some(), "{kind:?} {value}");
            }
        }
        let told = of(ParamKind::Choice).refusal("asia").unwrap();
        assert_eq!(told, "is not one of eu, us");
        assert_eq!(of(ParamKind::Url).host_in("https://A.b:1/x").as_deref(), Some("a.b"));
    }

    #[test]
    fn declarations_that_contradict_themselves_are_refused() {
        let bad = Param { choices: Vec::new(), ..of(ParamKind::Choice) };
        assert!(bad.check("x").unwrap().contains("without choices"));
        let bad = Param { choices: vec!["a".to_owned()], ..of(ParamKind::Host) };
        assert!(bad.check("x").unwrap().contains("only kind = \"choice\""));
        let bad = Param { default: Some("asia".to_owned()), ..of(ParamKind::Choice) };
        assert!(bad.check("x").unwrap().contains("the default of param.x is not one of eu, us"));
        assert_eq!(Param { default: Some(String::new()), ..of(ParamKind::Id) }.check("x"), None);
    }
}
