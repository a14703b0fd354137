//! All providers of a deployment: the shipped definitions, and the operator's own files, which replace those of the
//! same name.

use super::call::Resource;
use super::definition::Definition;
use super::load::{DefinitionError, LoadError, line_of, parse};
use super::overview::{self, ProviderOverview};
use super::quota::{PLAN, Quota, RateLimit};
use crate::words::{ProviderName, QuotaInputs, ResourceName, Scope};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The definitions that come with the binary.
const SHIPPED: &[(&str, &str)] = &[
    ("airthings", include_str!("../../config/providers/airthings.toml")),
    ("ambient-weather", include_str!("../../config/providers/ambient-weather.toml")),
    ("awair", include_str!("../../config/providers/awair.toml")),
    ("daikin-onecta", include_str!("../../config/providers/daikin-onecta.toml")),
    ("ecobee", include_str!("../../config/providers/ecobee.toml")),
    ("enphase", include_str!("../../config/providers/enphase.toml")),
    ("govee", include_str!("../../config/providers/govee.toml")),
    ("home-assistant", include_str!("../../config/providers/home-assistant.toml")),
    ("home-connect", include_str!("../../config/providers/home-connect.toml")),
    ("meadow", include_str!("../../config/providers/meadow.toml")),
    ("netatmo", include_str!("../../config/providers/netatmo.toml")),
    ("netatmo-energy", include_str!("../../config/providers/netatmo-energy.toml")),
    ("netatmo-home-coach", include_str!("../../config/providers/netatmo-home-coach.toml")),
    ("node-red", include_str!("../../config/providers/node-red.toml")),
    ("open-meteo", include_str!("../../config/providers/open-meteo.toml")),
    ("purpleair", include_str!("../../config/providers/purpleair.toml")),
    ("sensibo", include_str!("../../config/providers/sensibo.toml")),
    ("shelly-cloud", include_str!("../../config/providers/shelly-cloud.toml")),
    ("signalk", include_str!("../../config/providers/signalk.toml")),
    ("smartthings", include_str!("../../config/providers/smartthings.toml")),
    ("solaredge", include_str!("../../config/providers/solaredge.toml")),
    ("switchbot", include_str!("../../config/providers/switchbot.toml")),
    ("tado", include_str!("../../config/providers/tado.toml")),
    ("tado-x", include_str!("../../config/providers/tado-x.toml")),
    ("tesla-fleet", include_str!("../../config/providers/tesla-fleet.toml")),
    ("the-things-stack", include_str!("../../config/providers/the-things-stack.toml")),
    ("tuya", include_str!("../../config/providers/tuya.toml")),
    ("withings", include_str!("../../config/providers/withings.toml")),
];

/// A provider's definition under its name.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its file name without the extension.
    pub name: ProviderName,
    /// The file, for messages.
    pub file: String,
    /// The content of the file.
    pub definition: Definition,
    /// The file's text, to compute line numbers.
    pub text: String,
    overview: OnceLock<ProviderOverview>,
}

impl Provider {
    /// Reads and checks one provider's file.
    pub fn parse(name: ProviderName, file: &str, text: &str) -> Result<Self, LoadError> {
        let definition = parse(file, text).map_err(LoadError::Refused)?;
        let (file, text) = (file.to_owned(), text.to_owned());
        Ok(Self { name, file, definition, text, overview: OnceLock::new() })
    }

    /// What readers of its data may know of it.
    pub fn overview(&self) -> &ProviderOverview {
        self.overview.get_or_init(|| overview::of(&self.name, &self.definition))
    }

    /// The line number, from 1, at an offset of its text.
    pub fn line_at(&self, offset: usize) -> usize {
        line_of(&self.text, offset)
    }

    /// The error for a list of faults, each with its span in the text.
    pub fn refused(&self, wrong: Vec<(Range<usize>, String)>) -> LoadError {
        let error = |(span, message): (Range<usize>, String)| DefinitionError {
            file: self.file.clone(),
            line: self.line_at(span.start),
            message,
        };
        LoadError::Refused(wrong.into_iter().map(error).collect())
    }

    /// The resource of this name.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.definition.resources.iter().find(|(n, _)| n.get_ref().as_str() == name).map(|(_, r)| r.get_ref())
    }

    /// The call of this name: a resource's, a probe, discovery or bootstrap.
    pub fn call(&self, name: &str) -> Option<&Resource> {
        self.definition.calls().find(|(known, _)| known.as_str() == name).map(|(_, call)| call.get_ref())
    }

    /// The names of its resources.
    pub fn resource_names(&self) -> impl Iterator<Item = &ResourceName> {
        self.definition.resources.keys().map(|name| name.get_ref())
    }

    /// How late a call may be sent without overflowing a window: the smallest slack of any quota, and at least 10 ms,
    /// because no call is sent exactly at its instant.
    pub fn slack(&self) -> Duration {
        let least_ms = self.quotas().filter_map(Quota::slack_ms).fold(f64::INFINITY, f64::min);
        Duration::from_secs_f64(least_ms.clamp(10.0, 60_000.0) / 1000.0)
    }

    /// Whether a connection's params choose any host: the definition names none.
    pub fn has_open_hosts(&self) -> bool {
        let url = self.definition.http.base_url.get_ref();
        let host =
            url.split_once("://").map_or(url.as_str(), |(_, rest)| rest.split('/').next().unwrap_or(rest));
        self.definition.http.hosts.is_empty() && (host.contains("{{") || host.contains("{%"))
    }

    /// Allows further hosts where a param chooses the host.
    fn allow_hosts<'a>(&mut self, hosts: impl Iterator<Item = &'a str>) {
        if self.has_open_hosts() || !self.definition.http.hosts.is_empty() {
            let more = hosts.map(|host| toml::Spanned::new(0..0, host.to_ascii_lowercase()));
            self.definition.http.hosts.extend(more);
        }
    }

    /// Its quotas.
    pub fn quotas(&self) -> impl Iterator<Item = &Quota> {
        self.definition.quotas.iter().map(|q| q.get_ref())
    }

    /// The longest window of the quotas of a scope, ms; without any, of all quotas, or else a day. A
    /// provider that asks to wait for longer than it counts is tried again after this.
    pub fn longest_window_ms(&self, scope: Scope) -> i64 {
        const DAY_MS: i64 = 86_400_000;
        let longest =
            |quotas: &mut dyn Iterator<Item = &Quota>| quotas.filter_map(Quota::longest_window_ms).max();
        longest(&mut self.quotas().filter(|quota| quota.scope == scope))
            .or_else(|| longest(&mut self.quotas()))
            .unwrap_or(DAY_MS)
    }

    /// Whether some quota depends on a connection's quota inputs.
    pub fn has_quota_inputs(&self) -> bool {
        self.quotas().any(Quota::varies)
    }

    /// The plans that connections may have; empty if amounts do not depend on a plan.
    pub fn plans(&self) -> BTreeSet<&str> {
        self.quotas().flat_map(|quota| quota.amount.plans()).map(|(plan, _)| plan).collect()
    }

    /// The quota inputs of a connection with these params and this many devices.
    pub fn quota_inputs(&self, params: &BTreeMap<String, String>, devices: u32) -> QuotaInputs {
        let default = || self.definition.params.get(PLAN)?.get_ref().default.as_ref();
        QuotaInputs { plan: params.get(PLAN).or_else(default).cloned().unwrap_or_default(), devices }
    }

    /// Where responses report what is left of quotas.
    pub fn rate_limits(&self) -> impl Iterator<Item = &RateLimit> {
        self.definition.rate_limits.iter().map(|limit| limit.get_ref())
    }
}

/// Every provider by name.
#[derive(Debug, Clone, Default)]
pub struct Registry(BTreeMap<ProviderName, Arc<Provider>>);

impl Registry {
    /// Loads the shipped definitions and those in `dir`, which replace shipped ones of the same name.
    pub fn load(dir: Option<&Path>) -> Result<Self, LoadError> {
        let mut all = BTreeMap::new();
        let mut errors = Vec::new();
        for Source { name, file, text } in sources(dir)? {
            match Provider::parse(name.clone(), &file, &text) {
                Ok(provider) => drop(all.insert(name, Arc::new(provider))),
                Err(LoadError::Refused(found)) => errors.extend(found),
                Err(other) => return Err(other),
            }
        }
        if errors.is_empty() { Ok(Self(all)) } else { Err(LoadError::Refused(errors)) }
    }

    /// A registry of these providers only.
    pub fn of(providers: impl IntoIterator<Item = Provider>) -> Self {
        Self(providers.into_iter().map(|p| (p.name.clone(), Arc::new(p))).collect())
    }

    /// A registry with these providers added, or in place of those of the same name.
    pub fn with(&self, providers: impl IntoIterator<Item = Arc<Provider>>) -> Self {
        let mut all = self.0.clone();
        all.extend(providers.into_iter().map(|provider| (provider.name.clone(), provider)));
        Self(all)
    }

    /// The same, where these hosts are allowed to the params of these providers, too.
    pub fn with_hosts<'a>(&self, allowed: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let allowed: Vec<_> = allowed.into_iter().collect();
        let changed = self.iter().filter(|one| allowed.iter().any(|(name, _)| one.name.as_str() == *name));
        self.with(changed.map(|provider| {
            let mut provider = Provider::clone(provider);
            let hosts: Vec<_> = allowed.iter().filter(|(name, _)| provider.name.as_str() == *name).collect();
            provider.allow_hosts(hosts.iter().map(|(_, host)| *host));
            provider.overview = OnceLock::new();
            Arc::new(provider)
        }))
    }

    /// The provider of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Provider>> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.0.values()
    }
}

/// The unparsed text of a definition.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its file name without the extension.
    pub name: ProviderName,
    /// The file as errors name it.
    pub file: String,
    /// The content of the file.
    pub text: String,
}

impl Source {
    /// Reads a definition's file.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(|source| unreadable(path, source))?;
        Ok(Self { name: named(path)?, file: path.display().to_string(), text })
    }
}

/// The definitions in `dir`, and the shipped ones whose names `dir` does not contain; sorted by name.
pub fn sources(dir: Option<&Path>) -> Result<Vec<Source>, LoadError> {
    let mut found = BTreeMap::new();
    for (name, text) in SHIPPED {
        let file = format!("{name}.toml");
        let name = named(Path::new(&file))?;
        found.insert(name.clone(), Source { name, file, text: (*text).to_owned() });
    }
    for path in dir.map(files).transpose()?.unwrap_or_default() {
        let source = Source::read(&path)?;
        found.insert(source.name.clone(), source);
    }
    Ok(found.into_values().collect())
}

fn named(path: &Path) -> Result<ProviderName, LoadError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.parse().map_err(|source| LoadError::BadName { path: path.to_owned(), source })
}

fn files(dir: &Path) -> Result<Vec<std::path::PathBuf>, LoadError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|source| unreadable(dir, source))? {
        let path = entry.map_err(|source| unreadable(dir, source))?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn unreadable(path: &Path, source: std::io::Error) -> LoadError {
    LoadError::Unreadable { path: path.to_owned(), source }
}
