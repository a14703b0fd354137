//! Finding what somebody named, or a sentence that names what there is.

use super::{Auth, Provider, Registry, Resource};
use crate::words::{Interval, Priority, ResourceName};
use std::sync::Arc;

/// What was asked of a provider and is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No such provider.
    #[error("there is no provider {asked:?}: use one of {known}")]
    Provider {
        /// What was asked for.
        asked: String,
        /// Those that there are.
        known: String,
    },
    /// No such resource.
    #[error("provider {provider} has no resource {asked:?}: use one of {known}")]
    Resource {
        /// Where.
        provider: String,
        /// What was asked for.
        asked: String,
        /// Those that there are.
        known: String,
    },
    /// The provider asks for a secret.
    #[error("provider {0} asks for a secret: give it with --secret-file or --secret-stdin")]
    NoSecret(String),
    /// It asks for none.
    #[error("provider {0} takes no secret: leave it out")]
    NeedlessSecret(String),
}

impl Registry {
    /// The provider of this name, or the names that there are.
    pub fn find(&self, asked: &str) -> Result<&Arc<Provider>, LookupError> {
        let known = || self.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
        self.get(asked).ok_or_else(|| LookupError::Provider { asked: asked.to_owned(), known: known() })
    }
}

impl Provider {
    /// The resource of this name, or the names that there are.
    pub fn find_resource(&self, asked: &str) -> Result<(&ResourceName, &Resource), LookupError> {
        let found = self.definition.resources.iter().find(|(name, _)| name.get_ref().as_str() == asked);
        found.map(|(name, resource)| (name.get_ref(), resource.get_ref())).ok_or_else(|| {
            LookupError::Resource {
                provider: self.name.to_string(),
                asked: asked.to_owned(),
                known: self.resource_list(),
            }
        })
    }

    /// Its resource, if it has but one.
    pub fn only_resource(&self) -> Option<(&ResourceName, &Resource)> {
        let mut all = self.definition.resources.iter();
        let (name, resource) = all.next().filter(|_| all.next().is_none())?;
        Some((name.get_ref(), resource.get_ref()))
    }

    /// The names of its resources, for sentences.
    pub fn resource_list(&self) -> String {
        self.resource_names().map(ResourceName::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The jobs of a device of which nothing is said.
    pub fn default_jobs(&self) -> Vec<(ResourceName, Interval, Priority)> {
        let wanted = self.definition.resources.iter().filter(|(_, resource)| resource.get_ref().by_default);
        wanted
            .map(|(name, resource)| {
                (name.get_ref().clone(), resource.get_ref().interval_default, Priority::default())
            })
            .collect()
    }

    /// Refuses a connection without the secret that calls need, or with one that nothing would use.
    pub fn check_secret(&self, is_given: bool) -> Result<(), LookupError> {
        match (self.definition.auth == Auth::None, is_given) {
            (false, false) => Err(LookupError::NoSecret(self.name.to_string())),
            (true, true) => Err(LookupError::NeedlessSecret(self.name.to_string())),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_what_there_is() {
        let registry = Registry::load(None).unwrap();
        let refusal = registry.find("medow").unwrap_err().to_string();
        assert!(refusal.contains("meadow") && refusal.contains("signalk"), "{refusal}");
        let meadow = registry.find("meadow").unwrap();
        assert!(meadow.find_resource("power").unwrap_err().to_string().contains("energy, state"));
        assert!(meadow.check_secret(false).is_err() && meadow.check_secret(true).is_ok());
        assert!(registry.find("signalk").unwrap().check_secret(true).is_err());
    }

    #[test]
    fn what_is_not_by_default_must_be_asked_for() {
        let registry = Registry::load(None).unwrap();
        let jobs = registry.find("meadow").unwrap().default_jobs();
        assert_eq!(jobs.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["state"]);
    }
}
