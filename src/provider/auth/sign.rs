//! Signed requests: a text made from the request, and its HMAC in a header.

use crate::provider::http_text::check_header;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// How requests are signed, logins included; OAuth 2.0 requests are not.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// The algorithm.
    pub kind: SignKind,
    /// The secret that is the key.
    pub key: SignKey,
    /// Template of what is signed. Sees `params`, `secrets`, `operator`, `token` (empty while there is none) and
    /// `request`: its `uuid`, `epoch_ms`, `method`, `path` (with the query, sorted and not encoded) and `body_sha256`.
    #[schemars(with = "String")]
    pub text: Spanned<String>,
    /// The header that carries the signature.
    pub header: String,
    /// The encoding of the signature.
    #[serde(default)]
    pub encoding: Encoding,
    /// Whether the signature is in upper case.
    #[serde(default)]
    pub upper: bool,
    /// Templates of further headers; see what `text` sees.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<Spanned<String>, String>,
    /// The names of the connection's secrets that the templates use.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// The names of the operator's secrets that the templates use.
    #[serde(default)]
    pub operator: Vec<String>,
}

/// The algorithm of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum SignKind {
    /// HMAC with SHA-256 (RFC 2104).
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
}

/// The secret that is the key: one of the two.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignKey {
    /// A secret of the connection, by name.
    #[serde(default)]
    pub secret: Option<String>,
    /// A secret of the operator, by name.
    #[serde(default)]
    pub operator: Option<String>,
}

/// The encoding of a signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Two digits per byte.
    #[default]
    Hex,
    /// RFC 4648, section 4, with padding.
    Base64,
}

impl Sign {
    /// The names of the connection's secrets that it needs.
    pub fn own_names(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().chain(&self.key.secret).map(String::as_str)
    }

    /// The names of the operator's secrets that it needs.
    pub fn operators_names(&self) -> impl Iterator<Item = &str> {
        self.operator.iter().chain(&self.key.operator).map(String::as_str)
    }

    /// Its contradictions.
    pub(crate) fn check(&self) -> Vec<(Range<usize>, String)> {
        let mut wrong = Vec::new();
        let mut say = |span: Range<usize>, text: String| wrong.push((span, format!("auth.sign: {text}")));
        if self.key.secret.is_some() == self.key.operator.is_some() {
            let text = "key is the connection's secret or the operator's: set one of them";
            say(self.text.span(), text.to_owned());
        }
        check_header(&self.header, "").into_iter().for_each(|text| say(self.text.span(), text));
        for (name, value) in &self.headers {
            check_header(name.get_ref(), value).into_iter().for_each(|text| say(name.span(), text));
        }
        wrong
    }
}
