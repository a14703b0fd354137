//! A resource: what can be fetched of a device, and its `probe`, a request that tells which devices have changed.

use super::kinds::{Format, Method, Missing, Unit};
use super::pages::Pages;
use crate::words::{Interval, ResourceName};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

fn yes() -> bool {
    true
}

/// One kind of data that the provider offers for a device.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Whether a device gets it when nothing is said.
    #[serde(default = "yes")]
    pub by_default: bool,
    /// How many devices one call serves.
    #[serde(default)]
    pub unit: Unit,
    /// The most devices in one call; 1 for `unit = "device"`. All of a group or connection when absent.
    #[serde(default = "one")]
    pub batch_max: u32,
    /// The shortest interval a user may ask for.
    pub interval_min: Interval,
    /// What a device gets when nothing is said.
    pub interval_default: Interval,
    /// What a call costs.
    #[serde(default = "one")]
    pub cost: u32,
    /// What each device in it costs on top, over all pages.
    #[serde(default)]
    pub cost_per_device: u32,
    /// The request's method.
    #[serde(default)]
    pub method: Method,
    /// Template of the path below `base_url`; sees `params`, `bootstrap`, `device`, `devices`, and `request` with a
    /// `uuid` of its own and the time as `epoch_ms`. Values are percent-encoded.
    #[schemars(with = "String")]
    pub path: Spanned<String>,
    /// Templates of the query's values.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Template of a JSON body for `method = "POST"`; sees what `path` sees. Values are written as JSON, quotes
    /// included.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub json: Option<Spanned<String>>,
    /// Templates of the fields of a form for `method = "POST"`.
    #[serde(default)]
    pub form: BTreeMap<String, String>,
    /// How the answer is written.
    #[serde(default)]
    pub format: Format,
    /// How further pages are found, if the answer has any.
    #[serde(default)]
    #[schemars(with = "Option<Pages>")]
    pub pages: Option<Spanned<Pages>>,
    /// Whether the next call names the `ETag` and `Last-Modified` of the last answer, so that 304 may stand for all.
    #[serde(default)]
    pub conditional: bool,
    /// jq: the answer → a change token, which the templates of the next call see as `since`. Whatever its answer leaves
    /// out is unchanged.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub since: Option<Spanned<String>>,
    /// So often all is asked for, whatever has changed; 1day when absent.
    #[serde(default)]
    pub whole_every: Option<Interval>,
    /// A request before each call that tells which devices have changed.
    #[serde(default)]
    #[schemars(with = "Option<Look>")]
    pub probe: Option<Box<Probe>>,
    /// jq: the answer → one `{id, values, observed_at, online}` a device.
    #[schemars(with = "String")]
    pub records: Spanned<String>,
    /// What a device means that is absent from an answer that should hold it.
    #[serde(default)]
    pub missing: Missing,
}

impl Resource {
    /// One request for a whole connection that is not on the schedule.
    pub(crate) fn of_connection(path: Spanned<String>, records: Spanned<String>) -> Self {
        let day = Interval::from_ms(24 * 60 * 60 * 1000).unwrap_or(Interval::MIN);
        Self {
            by_default: false,
            unit: Unit::Connection,
            batch_max: 1,
            interval_min: day,
            interval_default: day,
            cost: 1,
            cost_per_device: 0,
            method: Method::Get,
            path,
            query: BTreeMap::new(),
            json: None,
            form: BTreeMap::new(),
            format: Format::Json,
            pages: None,
            conditional: false,
            since: None,
            whole_every: None,
            probe: None,
            records,
            missing: Missing::Gone,
        }
    }

    /// How many devices one call may serve.
    pub fn places(&self) -> u32 {
        match self.unit {
            Unit::Device => 1,
            Unit::Batch => self.batch_max,
            Unit::Group | Unit::Connection if self.batch_max == 1 => WHOLE_MAX,
            Unit::Group | Unit::Connection => self.batch_max,
        }
    }

    /// What a call costs whoever is in it: all pages that it may have, and its probe. Saturates; what does is refused
    /// at load.
    pub fn cost_per_call(&self) -> u32 {
        let pages = self.pages.as_ref().map_or(1, |pages| pages.get_ref().max);
        self.cost.saturating_mul(pages).saturating_add(self.probe.as_ref().map_or(0, |probe| probe.cost()))
    }

    /// Whether something is kept beside its readings by which the next call asks only for what is new.
    pub fn has_validators(&self) -> bool {
        self.conditional || self.since.is_some() || self.probe.is_some()
    }

    /// How long only what is new is asked for, ms.
    pub fn whole_every_ms(&self) -> i64 {
        self.whole_every.map_or(24 * 60 * 60 * 1000, |every| every.as_ms().cast_signed())
    }

    /// What a call for so many devices costs.
    pub fn cost_of(&self, devices: u32) -> u32 {
        self.cost_per_call() + self.cost_per_device * devices
    }

    /// How much later than the call itself its last request may be sent, ms: behind its probe, or its last page.
    pub fn pages_ms(&self) -> u64 {
        let pages = self.pages.as_ref().map_or(0, |pages| pages.get_ref().within.as_ms());
        pages + self.probe.as_ref().map_or(0, |probe| probe.within.as_ms())
    }
}

/// A call for all of a group or connection serves as many of its jobs at once, unless the file says fewer; more take
/// another.
const WHOLE_MAX: u32 = 1000;

/// The request before a call, judged as the call is; the call itself then asks for those that have changed.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Look")]
pub struct Probe {
    /// Known once the resource's own name is: see `named`.
    name: Option<ResourceName>,
    call: Spanned<Resource>,
    /// The call is sent within so long after it, or not at all.
    pub within: Interval,
}

/// As the file has it. A call is granted with its probe: both costs are spent, whether or not anything has changed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Probe")]
pub(crate) struct Look {
    /// What the request costs.
    #[serde(default = "one")]
    cost: u32,
    /// The call is sent within so long after it; the quotas that count the resource are spaced by so much more.
    #[serde(default = "default_within")]
    within: Interval,
    /// The request's method.
    #[serde(default)]
    method: Method,
    /// Template of the path below `base_url`; sees what the call's sees.
    #[schemars(with = "String")]
    path: Spanned<String>,
    /// Templates of the query's values.
    #[serde(default)]
    query: BTreeMap<String, String>,
    /// Template of a JSON body for `method = "POST"`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    json: Option<Spanned<String>>,
    /// Templates of the fields of a form for `method = "POST"`.
    #[serde(default)]
    form: BTreeMap<String, String>,
    /// jq: the answer → one `{id, revision, online}` a device. A revision is a text or a number that is another once
    /// the device's data is; without one, it has always changed.
    #[schemars(with = "String")]
    revisions: Spanned<String>,
}

fn one() -> u32 {
    1
}

fn default_within() -> Interval {
    Interval::from_ms(10_000).unwrap_or(Interval::MIN)
}

impl From<Look> for Probe {
    fn from(look: Look) -> Self {
        let (span, within) = (look.path.span(), look.within);
        let resource = Resource {
            cost: look.cost,
            method: look.method,
            query: look.query,
            json: look.json,
            form: look.form,
            ..Resource::of_connection(look.path, look.revisions)
        };
        Self { name: None, call: Spanned::new(span, resource), within }
    }
}

impl Probe {
    /// Learns of which resource it is the probe.
    pub(crate) fn named(&mut self, resource: &ResourceName) {
        self.name = Some(resource.probe_of());
    }

    /// What it is called among requests, once it is loaded, and the request as a call for a resource, whose `records`
    /// are revisions.
    pub fn named_call(&self) -> Option<(&ResourceName, &Spanned<Resource>)> {
        Some((self.name.as_ref()?, &self.call))
    }

    /// The request as a call for a resource.
    pub(crate) fn call(&self) -> &Resource {
        self.call.get_ref()
    }

    /// What it costs.
    pub fn cost(&self) -> u32 {
        self.call.get_ref().cost
    }
}
