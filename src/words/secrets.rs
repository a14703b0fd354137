//! Secrets by name.

use secrecy::SecretString;
use std::collections::BTreeMap;

/// Secrets by the names that a definition gives them. What prints it prints no secret.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<String, SecretString>);

impl Secrets {
    /// What a connection's only secret is called where nothing else is said.
    pub const ONLY: &str = "secret";

    /// The only one, under its usual name.
    pub fn only(secret: impl Into<SecretString>) -> Self {
        Self::from_iter([(Self::ONLY.to_owned(), secret.into())])
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&SecretString> {
        self.0.get(name)
    }

    /// Adds one, or puts it in the place of the one of its name.
    pub fn insert(&mut self, name: impl Into<String>, secret: SecretString) {
        self.0.insert(name.into(), secret);
    }

    /// Adds all of the other's, or puts them in the place of those of their names.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Each with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret))
    }

    /// Whether there is none.
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
    fn they_are_known_by_name_and_never_printed() {
        let mut secrets = Secrets::only("hunter2");
        secrets.extend(Secrets::from_iter([("app_key".to_owned(), "swordfish".into())]));
        assert_eq!(secrets.names().collect::<Vec<_>>(), ["app_key", "secret"]);
        assert!(secrets.get("app_key").is_some() && secrets.get("key").is_none());
        let printed = format!("{secrets:?}");
        assert!(!printed.contains("hunter2") && !printed.contains("swordfish"), "{printed}");
    }
}
