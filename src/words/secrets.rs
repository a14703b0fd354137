//! Secrets by name.

use secrecy::SecretString;
use std::collections::BTreeMap;

/// Secrets by their names in the definition. `Debug` never prints a secret.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<String, SecretString>);

impl Secrets {
    /// The default name of a connection's only secret.
    pub const ONLY: &str = "secret";

    /// A single secret under the default name.
    pub fn only(secret: impl Into<SecretString>) -> Self {
        Self::from_iter([(Self::ONLY.to_owned(), secret.into())])
    }

    /// The secret with this name.
    pub fn get(&self, name: &str) -> Option<&SecretString> {
        self.0.get(name)
    }

    /// Adds or replaces a secret.
    pub fn insert(&mut self, name: impl Into<String>, secret: SecretString) {
        self.0.insert(name.into(), secret);
    }

    /// Adds or replaces all secrets of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Names and secrets.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret))
    }

    /// Whether there are no secrets.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, SecretString)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (String, SecretString)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_by_name_and_never_printed() {
        let mut secrets = Secrets::only("hunter2");
        secrets.extend(Secrets::from_iter([("app_key".to_owned(), "swordfish".into())]));
        assert_eq!(secrets.names().collect::<Vec<_>>(), ["app_key", "secret"]);
        assert!(secrets.get("app_key").is_some() && secrets.get("key").is_none());
        let printed = format!("{secrets:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("swordfish"), "{printed}");
    }
}
