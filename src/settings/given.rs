//! Settings that are lists: of names, of keys, of what the operator was given for each provider.

use crate::words::{ProviderName, Secrets};
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Keys: a list in a file, or text with commas between them, as in the environment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "NamesAsWritten")]
pub struct FormerKeys(Vec<SecretString>);

impl From<NamesAsWritten> for FormerKeys {
    fn from(written: NamesAsWritten) -> Self {
        Self(written.into_names().map(SecretString::from).collect())
    }
}

impl FormerKeys {
    /// All of them.
    pub fn as_slice(&self) -> &[SecretString] {
        &self.0
    }
}

/// Names: a list in a file, or text with commas between them, as in the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "NamesAsWritten")]
pub struct Names(BTreeSet<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum NamesAsWritten {
    List(Vec<String>),
    Text(String),
}

impl NamesAsWritten {
    fn into_names(self) -> impl Iterator<Item = String> {
        let (list, text) = match self {
            Self::List(names) => (names, String::new()),
            Self::Text(text) => (Vec::new(), text),
        };
        let text: Vec<_> =
            text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        list.into_iter().chain(text)
    }
}

impl From<NamesAsWritten> for Names {
    fn from(written: NamesAsWritten) -> Self {
        written.into_names().collect()
    }
}

impl FromIterator<String> for Names {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Names {
    /// Whether this one is among them.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// `[provider.<name>]`: what the operator was given for a provider: a client's id and secret, the key of an app.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct OperatorSecrets(BTreeMap<String, BTreeMap<String, SecretString>>);

impl OperatorSecrets {
    /// Those for this provider. The environment writes `-` as `_`.
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
    use std::io::Write;

    #[test]
    fn names_are_a_list_or_text() {
        for text in ["\"a, b ,\"", "[\"b\", \"a\"]"] {
            let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
            writeln!(file, "[providers]\nprivate_networks = {text}").unwrap();
            let names = Settings::load(Some(file.path())).unwrap().providers.private_networks;
            assert_eq!(names, ["a".to_owned(), "b".to_owned()].into_iter().collect());
        }
    }

    #[test]
    fn the_operators_secrets_are_found_by_either_name_and_never_printed() {
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
