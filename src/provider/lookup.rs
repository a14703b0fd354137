//! Lookup by name; an error lists the names that exist.

use super::call::Resource;
use super::http_text::host_matches;
use super::lookup_error::{LookupError, PARAMS_MAX};
use super::quota::PLAN;
use super::registry::{Provider, Registry};
use crate::words::text;
use crate::words::{Interval, Priority, ResourceName, Secrets};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Registry {
    /// The provider of this name; the error lists the existing names.
    pub fn find(&self, asked: &str) -> Result<&Arc<Provider>, LookupError> {
        let known = || self.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
        self.get(asked).ok_or_else(|| LookupError::Provider { asked: asked.to_owned(), known: known() })
    }
}

impl Provider {
    /// The resource of this name; the error lists the existing names.
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

    /// Its resource, if it has exactly one.
    pub fn only_resource(&self) -> Option<(&ResourceName, &Resource)> {
        let mut all = self.definition.resources.iter();
        let (name, resource) = all.next().filter(|_| all.next().is_none())?;
        Some((name.get_ref(), resource.get_ref()))
    }

    /// The names of its resources, separated by commas.
    pub fn resource_list(&self) -> String {
        self.resource_names().map(ResourceName::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The jobs that a new device gets by default.
    pub fn default_jobs(&self) -> Vec<(ResourceName, Interval, Priority)> {
        let wanted = self.definition.resources.iter().filter(|(_, resource)| resource.get_ref().by_default);
        wanted
            .map(|(name, resource)| {
                (name.get_ref().clone(), resource.get_ref().interval_default, Priority::default())
            })
            .collect()
    }

    /// Refuses a connection that lacks what calls need, or has what nothing uses.
    pub fn check_account(
        &self,
        params: &BTreeMap<String, String>,
        secrets: &Secrets,
        operator: &Secrets,
    ) -> Result<(), LookupError> {
        self.check_params(params)?;
        self.check_secrets(secrets)?;
        self.check_operator(operator)
    }

    /// Refuses missing and unknown secrets.
    pub fn check_secrets(&self, secrets: &Secrets) -> Result<(), LookupError> {
        let (provider, needed) = (self.name.to_string(), self.definition.auth.get_ref().secrets());
        let about =
            |name: &str| self.definition.secrets.get(name).map(|about| about.get_ref().about.as_str());
        if let Some(asked) = secrets.names().find(|name| !needed.contains(name)) {
            let known = match needed.is_empty() {
                true => "it takes none".to_owned(),
                false => format!("it takes {}", list(needed.iter().map(|name| (*name).to_owned()))),
            };
            return Err(LookupError::NeedlessSecret { provider, asked: asked.to_owned(), known });
        }
        for (name, secret) in secrets.iter() {
            text::check_secret(&format!("the secret {name}"), secret)?;
        }
        let missing: Vec<_> = needed.into_iter().filter(|name| secrets.get(name).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let what = list(missing.into_iter().map(|name| match (name, about(name)) {
            (Secrets::ONLY, None) => "a secret".to_owned(),
            (name, None) => format!("the secret {name}"),
            (name, Some(about)) => format!("the secret {name} ({about})"),
        }));
        Err(LookupError::NoSecret { provider, what })
    }

    /// Refuses missing and unknown params, if the definition declares any.
    fn check_params(&self, params: &BTreeMap<String, String>) -> Result<(), LookupError> {
        let (provider, declared) = (self.name.to_string(), &self.definition.params);
        if params.len() > PARAMS_MAX {
            return Err(LookupError::ManyParams { provider, found: params.len() });
        }
        // Every template may use params that nothing declares, so these are checked too.
        for (name, value) in params {
            text::name("the name of a param", name)?;
            text::check_param(&format!("the param {name}"), value)?;
        }
        if declared.is_empty() {
            return Ok(());
        }
        if let Some(asked) = params.keys().find(|name| !declared.contains_key(*name)) {
            let known = format!("it has {}", list(declared.keys().cloned()));
            return Err(LookupError::NeedlessParam { provider, asked: asked.clone(), known });
        }
        let missing = declared.iter().filter(|(name, param)| {
            param.get_ref().default.is_none() && params.get(*name).is_none_or(String::is_empty)
        });
        let what = list(missing.map(|(name, param)| format!("the param {name} ({})", param.get_ref().about)));
        if !what.is_empty() {
            return Err(LookupError::NoParam { provider, what });
        }
        for (name, value) in params.iter().filter(|(_, value)| !value.is_empty()) {
            let Some(param) = declared.get(name).map(|param| param.get_ref()) else { continue };
            if let Some(why) = param.refusal(value) {
                return Err(LookupError::BadParam {
                    provider,
                    name: name.clone(),
                    asked: value.clone(),
                    why,
                });
            }
            let hosts = &self.definition.http.hosts;
            let is_known = |host: &str| hosts.iter().any(|known| host_matches(host, known.get_ref()));
            if let Some(host) = param.host_in(value).filter(|host| !hosts.is_empty() && !is_known(host)) {
                let known = list(hosts.iter().map(|host| host.get_ref().clone()));
                return Err(LookupError::ForeignHost { provider, name: name.clone(), host, known });
            }
        }
        params.get(PLAN).map_or(Ok(()), |plan| self.check_plan(plan))
    }

    /// Refuses an unknown plan, where amounts depend on one.
    pub fn check_plan(&self, asked: &str) -> Result<(), LookupError> {
        text::check_param("the plan", asked)?;
        let plans = self.plans();
        if plans.contains(asked) || plans.is_empty() && self.definition.params.contains_key(PLAN) {
            return Ok(());
        }
        let known = match plans.is_empty() {
            true => "its limits do not depend on a plan".to_owned(),
            false => format!("it has {}", list(plans.into_iter().map(str::to_owned))),
        };
        Err(LookupError::Plan { provider: self.name.to_string(), asked: asked.to_owned(), known })
    }

    /// Refuses a provider for which the operator has not set all secrets.
    pub fn check_operator(&self, operator: &Secrets) -> Result<(), LookupError> {
        let needed = self.definition.auth.get_ref().operators();
        match needed.into_iter().find(|name| operator.get(name).is_none()) {
            None => Ok(()),
            Some(asked) => Err(LookupError::NoOperatorSecret {
                provider: self.name.to_string(),
                asked: asked.to_owned(),
                variable: format!("PACELINE__PROVIDER__{}__{asked}", self.name)
                    .replace('-', "_")
                    .to_ascii_uppercase(),
            }),
        }
    }

    /// A connection's params, with the definition's defaults for absent ones.
    pub fn with_defaults(&self, mut params: BTreeMap<String, String>) -> BTreeMap<String, String> {
        for (name, param) in &self.definition.params {
            if let Some(default) = &param.get_ref().default {
                params.entry(name.clone()).or_insert_with(|| default.clone());
            }
        }
        params
    }
}

/// `a, b and c`
fn list(items: impl IntoIterator<Item = String>) -> String {
    let mut items: Vec<_> = items.into_iter().collect();
    let last = items.pop().unwrap_or_default();
    if items.is_empty() { last } else { format!("{} and {last}", items.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_errors_list_the_existing_names() {
        let registry = Registry::load(None).unwrap();
        let refusal = registry.find("medow").unwrap_err().to_string();
        assert!(refusal.contains("meadow") && refusal.contains("signalk"), "{refusal}");
        let meadow = registry.find("meadow").unwrap();
        assert!(meadow.find_resource("power").unwrap_err().to_string().contains("energy, state"));
        let no_secret = meadow.check_secrets(&Secrets::default()).unwrap_err().to_string();
        assert!(no_secret.contains("meadow needs a secret"), "{no_secret}");
        assert!(meadow.check_secrets(&Secrets::only("s")).is_ok());
        let signalk = registry.find("signalk").unwrap();
        assert!(signalk.check_secrets(&Secrets::only("s")).unwrap_err().to_string().contains("takes none"));
    }

    #[test]
    fn missing_secrets_and_params_are_named_with_their_description() {
        let registry = Registry::load(None).unwrap();
        let (ambient, none) = (registry.find("ambient-weather").unwrap(), Secrets::default());
        let api_key = Secrets::from_iter([("api_key".to_owned(), "s".into())]);
        let says = |secrets: &Secrets, operator: &Secrets| {
            let checked = ambient.check_account(&BTreeMap::new(), secrets, operator);
            checked.map_err(|error| error.to_string())
        };
        assert!(says(&none, &none).unwrap_err().contains("the secret api_key (API key of the account"));
        let refusal = says(&api_key, &none).unwrap_err();
        assert!(refusal.contains("PACELINE__PROVIDER__AMBIENT_WEATHER__APPLICATION_KEY"), "{refusal}");
        let operator = Secrets::from_iter([("application_key".to_owned(), "s".into())]);
        assert_eq!(says(&api_key, &operator), Ok(()));
        assert!(says(&Secrets::only("s"), &operator).unwrap_err().contains("it takes api_key"));
        let shelly = registry.find("shelly-cloud").unwrap();
        let params = |params: &[(&str, &str)]| {
            let params =
                params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            shelly.check_account(&params, &Secrets::only("s"), &none).map_err(|error| error.to_string())
        };
        assert!(params(&[]).unwrap_err().contains("the param host ("));
        assert!(params(&[("hots", "x"), ("host", "x")]).unwrap_err().contains("it has host"));
        assert_eq!(params(&[("host", "shelly-49-eu.shelly.cloud")]), Ok(()));
    }

    #[test]
    fn params_are_of_their_kind_and_name_hosts_of_the_provider() {
        let registry = Registry::load(None).unwrap();
        let says = |registry: &Registry, params: [(&str, &str); 2]| {
            let params = params.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let checked = registry.find("the-things-stack").unwrap().check_params(&params);
            checked.map_err(|error| error.to_string())
        };
        let (good, ours) = (("host", "eu1.cloud.thethings.network"), ("host", "lora.example.com"));
        assert_eq!(says(&registry, [good, ("app", "cellar")]), Ok(()));
        assert!(says(&registry, [good, ("app", "../users")]).unwrap_err().contains("is not an id"));
        let refusal =
            says(&registry, [("host", "https://eu1.cloud.thethings.network"), ("app", "a")]).unwrap_err();
        assert!(refusal.contains("is not a host"), "{refusal}");
        let refusal = says(&registry, [ours, ("app", "cellar")]).unwrap_err();
        assert!(
            refusal.contains("*.cloud.thethings.network") && refusal.contains("providers.hosts"),
            "{refusal}"
        );
        let allowed = registry.with_hosts([("the-things-stack", "lora.example.com")]);
        assert_eq!(says(&allowed, [ours, ("app", "cellar")]), Ok(()));
        assert_eq!(says(&allowed, [good, ("app", "cellar")]), Ok(()));
        // Whose host is fixed gets no other, and whose params choose it is told from it.
        let fixed = registry.with_hosts([("awair", "lora.example.com")]);
        assert!(fixed.find("awair").unwrap().definition.http.hosts.is_empty());
        let open = |registry: &Registry, name: &str| registry.find(name).unwrap().has_open_hosts();
        assert!(
            open(&registry, "signalk") && !open(&registry, "awair") && !open(&registry, "the-things-stack")
        );
        assert!(!open(&registry.with_hosts([("signalk", "boat.example.com")]), "signalk"));
    }

    #[test]
    fn default_jobs_leave_out_resources_that_are_not_by_default() {
        let registry = Registry::load(None).unwrap();
        let jobs = registry.find("meadow").unwrap().default_jobs();
        assert_eq!(jobs.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["state"]);
    }
}
