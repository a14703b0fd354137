//! Settings that hold several values: names, former keys, the operator's secrets for each provider.

use crate::words::{ProviderName, Secrets};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use std::collections::{BTreeMap, BTreeSet};

/// Former sealing keys: a list in a file, or comma-separated text as in the environment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "ListOrText")]
pub struct FormerKeys(Vec<SecretString>);

impl From<ListOrText> for FormerKeys {
    fn from(written: ListOrText) -> Self {
        Self(written.into_items().map(SecretString::from).collect())
    }
}

impl FormerKeys {
    /// The keys.
    pub fn as_slice(&self) -> &[SecretString] {
        &self.0
    }
}

/// A set of names: a list in a file, or comma-separated text as in the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "ListOrText")]
pub struct Names(BTreeSet<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum ListOrText {
    List(Vec<String>),
    Text(String),
}

impl ListOrText {
    fn into_items(self) -> impl Iterator<Item = String> {
        let (list, text) = match self {
            Self::List(names) => (names, String::new()),
            Self::Text(text) => (Vec::new(), text),
        };
        let text: Vec<_> =
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        list.into_iter().chain(text)
    }
}

impl From<ListOrText> for Names {
    fn from(written: ListOrText) -> Self {
        written.into_items().collect()
    }
}

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Names {
    /// Whether the set has this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// Origins of web pages, as browsers name them: a list in a file, or comma-separated text. `*` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ListOrText")]
pub struct Origins(Vec<String>);

impl TryFrom<ListOrText> for Origins {
    type Error = String;
    fn try_from(written: ListOrText) -> Result<Self, String> {
        let origins: Vec<_> = written.into_items().collect();
        let is_origin = |text: &String| {
            let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            let is_plain =
                |c: char| c.is_ascii_alphanumeric() && !c.is_ascii_uppercase() || "-.:[]".contains(c);
            text == "*" || host.is_some_and(|host| !host.is_empty() && host.chars().all(is_plain))
        };
        match origins.iter().find(|text| !is_origin(text)) {
            Some(other) => Err(format!(
                "{other:?} is no origin: write https://dashboard.example.com in lower case, without a path, or *"
            )),
            None => Ok(Self(origins)),
        }
    }
}

impl Origins {
    /// The origins, as they are written.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Hosts by provider, each written `provider/host`: a list in a file, or comma-separated text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ListOrText")]
pub struct ProviderHosts(Vec<(String, String)>);

impl TryFrom<ListOrText> for ProviderHosts {
    type Error = String;
    fn try_from(written: ListOrText) -> Result<Self, String> {
        let split = |item: String| match item.split_once('/') {
            Some((provider, host)) if !provider.is_empty() && !host.is_empty() && !host.contains('/') => {
                Ok((provider.to_owned(), host.to_owned()))
            }
            _ => Err(format!(
                "providers.hosts: {item:?} is not a provider and a host, as in signalk/boat.example.com"
            )),
        };
        written.into_items().map(split).collect::<Result<_, _>>().map(Self)
    }
}

impl ProviderHosts {
    /// Providers and their hosts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(provider, host)| (provider.as_str(), host.as_str()))
    }
}

/// A URL of several hosts, or a list of URLs that differ in their hosts only.
pub(super) fn url_of_hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    let list = match ListOrText::deserialize(deserializer)? {
        ListOrText::Text(url) => return Ok(url.into()),
        ListOrText::List(list) => list,
    };
    let parts: Vec<_> = list.iter().map(|url| split_at_host(url)).collect();
    let Some(&(start, _, end)) = parts.first() else { return Ok(String::new().into()) };
    if parts.iter().any(|part| (part.0, part.2) != (start, end)) {
        return Err(D::Error::custom("the URLs of a list may differ in their hosts only"));
    }
    let hosts: Vec<_> = parts.iter().map(|part| part.1).collect();
    Ok(format!("{start}{}{end}", hosts.join(",")).into())
}

/// What is before the host of a URL, the host and port, and what is after.
fn split_at_host(url: &str) -> (&str, &str, &str) {
    let start = url.rfind('@').map(|at| at + 1).or_else(|| url.find("://").map(|at| at + 3)).unwrap_or(0);
    let length = url[start..].find(['/', '?']).unwrap_or(url.len() - start);
    (&url[..start], &url[start..start + length], &url[start + length..])
}

/// `[provider.<name>]`: the operator's own secrets at a provider, such as a client id and secret, or an app's key.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct OperatorSecrets(BTreeMap<String, BTreeMap<String, SecretString>>);

impl OperatorSecrets {
    /// The secrets for a provider. Environment variables write `-` in its name as `_`.
    pub fn of(&self, provider: &ProviderName) -> Secrets {
        let name = provider.as_str();
        let written = [name.replace('-', "_"), name.to_owned()];
        let found = written.iter().filter_map(|name| self.0.get(name)).flatten();
        found.map(|(name, secret)| (name.clone(), secret.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;
    use secrecy::ExposeSecret;
    use std::io::Write;

    #[test]
    fn redis_url_may_be_a_list_of_nodes() {
        let load = |text: &str| {
            let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
            writeln!(file, "[redis]\nurl = {text}").unwrap();
            Settings::load(Some(file.path())).map(|settings| settings.redis.url.expose_secret().to_owned())
        };
        assert_eq!(load(r#""redis://a,b""#).unwrap(), "redis://a,b");
        assert_eq!(load(r#"["redis://u:p@a:1/0", "redis://u:p@b:2/0"]"#).unwrap(), "redis://u:p@a:1,b:2/0");
        let error = load(r#"["redis://u:p@a:1", "redis://b:2"]"#).unwrap_err().to_string();
        assert!(error.contains("hosts only") && !error.contains("u:p"), "{error}");
    }

    #[test]
    fn names_parse_from_list_and_text() {
        for text in ["\"a, b ,\"", "[\"b\", \"a\"]"] {
            let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
            writeln!(file, "[providers]\nprivate_networks = {text}").unwrap();
            let names = Settings::load(Some(file.path())).unwrap().providers.private_networks;
            assert_eq!(names, ["a".to_owned(), "b".to_owned()].into_iter().collect());
        }
    }

    #[test]
    fn operator_secrets_are_found_by_both_spellings_and_never_printed() {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        let text = "[provider.home-connect]\nclient_id = \"id-1\"\n[provider.home_connect]\nclient_secret = \"hush\"";
        writeln!(file, "{text}").unwrap();
        let settings = Settings::load(Some(file.path())).unwrap();
        let found = settings.provider.of(&"home-connect".parse().unwrap());
        assert_eq!(found.names().collect::<Vec<_>>(), ["client_id", "client_secret"]);
        assert!(settings.provider.of(&"netatmo".parse().unwrap()).is_empty());
        assert!(!format!("{settings:?}").contains("hush"));
    }
}
