//! What readers of a provider's data may know of its definition: resources, and the values of their readings.

use super::auth::{Flow, Param, ParamKind};
use super::call::{Resource, Unit};
use super::definition::Definition;
use super::value::{DeclaredValue, Kind, find, quantity_of_suffix};
use crate::words::{Interval, ProviderName};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A provider, as its definition describes it.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ProviderOverview {
    /// Its name.
    #[schema(example = "meadow")]
    pub name: String,
    /// What people call it.
    #[schema(example = "Meadow")]
    pub title: String,
    /// Where the provider documents its API; null if the definition does not tell.
    #[schema(required = true)]
    pub docs: Option<String>,
    /// Whether devices of a connection can be listed.
    pub discovery: bool,
    /// How a connection is authorized.
    pub authorization: Authorization,
    /// The secrets that a connection needs, by name.
    pub secrets: BTreeMap<String, SecretOverview>,
    /// The params that a connection has, by name; if empty, it may have any.
    pub params: BTreeMap<String, ParamOverview>,
    /// The plans that it may be on, its param `plan`; empty if limits do not depend on one.
    pub plans: Vec<String>,
    /// What can be fetched of a device, by name.
    pub resources: BTreeMap<String, ResourceOverview>,
}

/// How a connection is authorized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Authorization {
    /// By its secrets alone.
    Secrets,
    /// By its owner, in a browser: `POST /v1/connections/{id}/authorize`.
    Browser,
    /// By its owner, who types a code in on another device.
    Code,
}

/// A secret of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SecretOverview {
    /// What it is, and where its owner finds it; null if nothing tells.
    #[schema(required = true, example = "API key of the account")]
    pub about: Option<String>,
}

/// A param of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ParamOverview {
    /// What it is, and where its owner finds it.
    #[schema(example = "the cluster's host, such as eu1.cloud.thethings.network")]
    pub about: String,
    /// Whether it must be given.
    pub required: bool,
    /// Its value if it is not given; null if it has none.
    #[schema(required = true)]
    pub default: Option<String>,
    /// What its values may be.
    pub kind: ParamKind,
    /// The values that it may have, if its kind is `choice`.
    pub choices: Vec<String>,
    /// The hosts that it may name, such as `*.example.com`; empty if the definition does not say.
    pub hosts: Vec<String>,
}

/// A resource of a provider.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ResourceOverview {
    /// Whether a new device gets a job for it.
    pub by_default: bool,
    /// The interval of a new job.
    #[schema(value_type = String, example = "1m")]
    pub interval_default: Interval,
    /// The shortest interval that a job may have.
    #[schema(value_type = String, example = "10s")]
    pub interval_min: Interval,
    /// What one call serves: `device`, `batch`, `group` or `connection`.
    #[schema(example = "batch")]
    pub unit: &'static str,
    /// The most devices that one call serves; null for all of a group or connection.
    #[schema(required = true, example = 20)]
    pub batch_max: Option<u32>,
    /// Values that readings may have, by name: those that the definition declares, and those of the common vocabulary
    /// that it names. Readings may have further ones, whose names only the provider's responses tell.
    pub values: BTreeMap<String, ValueOverview>,
}

/// A value of readings.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ValueOverview {
    /// What people call it; null if nothing tells.
    #[schema(required = true, example = "Temperature")]
    pub label: Option<String>,
    /// `number`, `bool` or `text`; null if nothing tells.
    #[schema(required = true, example = "number")]
    pub kind: Option<&'static str>,
    /// The unit of a number; null if it has none.
    #[schema(required = true, example = "°C")]
    pub unit: Option<String>,
    /// Whether the name means the same at every provider.
    pub common: bool,
}

impl ResourceOverview {
    /// What is known of a value that a reading has: by the definition, or else by the common vocabulary.
    pub fn value(&self, name: &str) -> Option<ValueOverview> {
        self.values.get(name).cloned().or_else(|| find(name).map(|_| value(name, None)))
    }
}

/// What readers of a provider's data may know of it.
pub(super) fn of(name: &ProviderName, definition: &Definition) -> ProviderOverview {
    let resources = definition.resources.iter();
    ProviderOverview {
        name: name.to_string(),
        title: definition.title.clone(),
        docs: definition.docs.clone(),
        discovery: definition.discovery.is_some(),
        authorization: authorization(definition),
        secrets: secrets(definition),
        params: params(definition),
        plans: plans(definition),
        resources: resources
            .map(|(name, of)| (name.get_ref().to_string(), of.get_ref().overview()))
            .collect(),
    }
}

fn authorization(definition: &Definition) -> Authorization {
    let oauth2 = definition.auth.get_ref().oauth2.as_ref();
    match oauth2.map(|oauth2| oauth2.get_ref().flow) {
        Some(Flow::Code) => Authorization::Browser,
        Some(Flow::Device) => Authorization::Code,
        Some(Flow::Client) | None => Authorization::Secrets,
    }
}

fn secrets(definition: &Definition) -> BTreeMap<String, SecretOverview> {
    let about = |name: &str| definition.secrets.get(name).map(|about| about.get_ref().about.clone());
    let names = definition.auth.get_ref().secrets().into_iter();
    names.map(|name| (name.to_owned(), SecretOverview { about: about(name) })).collect()
}

fn params(definition: &Definition) -> BTreeMap<String, ParamOverview> {
    let hosts: Vec<_> = definition.http.hosts.iter().map(|host| host.get_ref().clone()).collect();
    let overview = |param: &Param| ParamOverview {
        about: param.about.clone(),
        required: param.default.is_none(),
        default: param.default.clone(),
        kind: param.kind,
        choices: param.choices.clone(),
        hosts: if matches!(param.kind, ParamKind::Host | ParamKind::Url) {
            hosts.clone()
        } else {
            Vec::new()
        },
    };
    definition.params.iter().map(|(name, param)| (name.clone(), overview(param.get_ref()))).collect()
}

fn plans(definition: &Definition) -> Vec<String> {
    let plans = definition.quotas.iter().flat_map(|quota| quota.get_ref().amount.plans());
    plans.map(|(plan, _)| plan.to_owned()).collect::<BTreeSet<_>>().into_iter().collect()
}

impl Resource {
    fn overview(&self) -> ResourceOverview {
        let (unit, batch_max) = match self.unit {
            Unit::Device => ("device", Some(1)),
            Unit::Batch => ("batch", self.batch_max),
            Unit::Group => ("group", self.batch_max),
            Unit::Connection => ("connection", self.batch_max),
        };
        let declared = self.value.iter().map(|(name, declared)| (name.clone(), value(name, Some(declared))));
        // A name that a declared value is taken from is not a reading's.
        let taken: BTreeSet<&str> = self
            .value
            .values()
            .flat_map(|one| one.from.iter().flat_map(|from| from.all()))
            .map(String::as_str)
            .collect();
        let named = keys(self.records.get_ref()).into_iter();
        let common = named.filter(|name| find(name).is_some() && !taken.contains(name));
        let mut values: BTreeMap<_, _> = common.map(|name| (name.to_owned(), value(name, None))).collect();
        values.extend(declared);
        ResourceOverview {
            by_default: self.by_default,
            interval_default: self.interval_default,
            interval_min: self.interval_min,
            unit,
            batch_max,
            values,
        }
    }
}

fn value(name: &str, declared: Option<&DeclaredValue>) -> ValueOverview {
    let term = find(name);
    let quantity = match term.map(|term| term.kind) {
        Some(Kind::Number(quantity, ..)) => Some(quantity),
        Some(Kind::Bool | Kind::Text) => None,
        None => quantity_of_suffix(name),
    };
    let unit = declared.and_then(|declared| declared.unit.clone());
    let is_number = quantity.is_some()
        || unit.is_some()
        || declared.is_some_and(|one| one.scale.is_some() || one.min.is_some() || one.max.is_some());
    ValueOverview {
        label: declared.and_then(|one| one.label.clone()).or(term.map(|term| term.label.to_owned())),
        kind: match term.map(|term| term.kind) {
            Some(Kind::Bool) => Some("bool"),
            Some(Kind::Text) => Some("text"),
            _ => is_number.then_some("number"),
        },
        unit: quantity.map(|quantity| quantity.symbol().to_owned()).or(unit).filter(|unit| !unit.is_empty()),
        common: term.is_some(),
    }
}

/// The keys of the objects that a jq program writes: `name: …`, `"name": …`, and `{name, …}`.
fn keys(program: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    let mut at = 0;
    while let Some(start) = program[at..].find(|c: char| is_word(c) || c == '#').map(|n| at + n) {
        let rest = &program[start..];
        if rest.starts_with('#') {
            at = rest.find('\n').map_or(program.len(), |n| start + n);
            continue;
        }
        let end = rest.find(|c: char| !is_word(c)).map_or(program.len(), |n| start + n);
        let before = &program[..start];
        let (before, after) = match (before.strip_suffix('"'), program[end..].strip_prefix('"')) {
            (Some(before), Some(after)) => (before, after),
            _ => (before, &program[end..]),
        };
        let variable = before.strip_suffix('$');
        let ahead = variable.unwrap_or(before).trim_end();
        let next = after.trim_start().chars().next();
        let is_short = ahead.ends_with(['{', ',']) && matches!(next, Some('}' | ','));
        let is_pair = next == Some(':') && variable.is_none() && !ahead.ends_with("def");
        let is_name = program[start..].starts_with(|c: char| c.is_ascii_alphabetic());
        if is_name && !before.ends_with(['.', '@']) && (is_pair || is_short) {
            found.insert(&program[start..end]);
        }
        at = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Registry;

    #[test]
    fn keys_are_what_a_program_writes_and_not_what_it_reads() {
        let program = r#"
            # not: this
            def state: .power == "on"; .mode as $mode | .state[1:2]
            | {id, "humidity_pct" : .h, values: {temperature_c: (.t // .temperature), on, $mode, open: $open}}"#;
        assert_eq!(
            keys(program).into_iter().collect::<Vec<_>>(),
            ["humidity_pct", "id", "mode", "on", "open", "temperature_c", "values"]
        );
        assert!(keys("").is_empty());
    }

    #[test]
    fn values_come_from_the_vocabulary_and_the_definition() {
        let registry = Registry::load(None).unwrap();
        let tado = registry.get("tado").unwrap().overview();
        let climate = &tado.resources["climate"];
        assert_eq!((climate.unit, climate.batch_max), ("connection", None));
        let temperature = &climate.values["temperature_c"];
        assert_eq!(
            (temperature.kind, temperature.unit.as_deref(), temperature.common),
            (Some("number"), Some("°C"), true)
        );
        assert_eq!(climate.values["running"].label.as_deref(), Some("Air conditioner is working"));
        assert!(!climate.values.contains_key("tado_mode"), "neither declared nor common");
        for provider in registry.iter() {
            for (name, resource) in &provider.overview().resources {
                let known = resource.values.values().filter(|value| value.kind.is_some()).count();
                assert!(known > 0 || resource.values.is_empty(), "{} {name}", provider.name);
            }
        }
    }
}
