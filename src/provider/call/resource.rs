//! A resource: what can be fetched of a device; and its `probe`, a request that reports which devices have changed.

use super::kinds::{Format, Method, Missing, Unit};
use super::pages::Pages;
use crate::provider::value::DeclaredValue;
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
    /// Whether a new device gets it by default.
    #[serde(default = "yes")]
    pub by_default: bool,
    /// How many devices one call serves.
    #[serde(default)]
    pub unit: Unit,
    /// The most devices per call; required for `unit = "batch"`. All of a group or connection when absent.
    #[serde(default)]
    pub batch_max: Option<u32>,
    /// The shortest interval that a user may set.
    pub interval_min: Interval,
    /// The interval of a new job by default.
    pub interval_default: Interval,
    /// The cost per call.
    #[serde(default = "one")]
    pub cost: u32,
    /// The additional cost per device, over all pages.
    #[serde(default)]
    pub cost_per_device: u32,
    /// The request's method.
    #[serde(default)]
    pub method: Method,
    /// Template of the path below `base_url`; sees `params`, `bootstrap`, `device`, `devices`, and `request` with a
    /// new `uuid` and the time as `epoch_ms`. Values are percent-encoded.
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
    /// The format of the response.
    #[serde(default)]
    pub format: Format,
    /// How further pages are found, if there are any.
    #[serde(default)]
    #[schemars(with = "Option<Pages>")]
    pub pages: Option<Spanned<Pages>>,
    /// Whether the next call sends the `ETag` and `Last-Modified` of the last response, which allows a 304.
    #[serde(default)]
    pub conditional: bool,
    /// jq: the response → a change token, which the next call's templates see as `since`. What that response leaves out
    /// is unchanged.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub since: Option<Spanned<String>>,
    /// How often everything is requested, whatever has changed; 1day when absent.
    #[serde(default)]
    pub whole_every: Option<Interval>,
    /// A request before each call that reports which devices have changed.
    #[serde(default)]
    #[schemars(with = "Option<ProbeTable>")]
    pub probe: Option<Box<Probe>>,
    /// jq: the response → its elements, each read by itself, so that one that cannot be read loses no other. When
    /// absent, the response is the one element.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub each: Option<Spanned<String>>,
    /// jq: an element → the device's external id. An element that cannot be read is then this device's failure.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub id: Option<Spanned<String>>,
    /// jq: an element → `{id, values, observed_at, online}` per device.
    #[schemars(with = "String")]
    pub records: Spanned<String>,
    /// What is known about the values, by name. Names of the vocabulary are known without.
    #[serde(default)]
    pub value: BTreeMap<String, DeclaredValue>,
    /// The age at which an observation is stale, by its own time; when absent, six intervals and the time that
    /// observations of this source usually take to be replaced.
    #[serde(default)]
    pub stale_after: Option<Interval>,
    /// The age at which an observation shows that its device is offline, by its own time, although the provider still
    /// tells it, calls it unchanged, or has no data of the device. When absent, only `online` of a record tells.
    #[serde(default)]
    pub offline_after: Option<Interval>,
    /// Whether an observation that is older than the one that stands replaces it. When not, it is kept until answers
    /// have been older for an hour without a break.
    #[serde(default)]
    pub older_replaces: bool,
    /// The meaning of a device that is absent from a response that should contain it.
    #[serde(default)]
    pub missing: Missing,
}

impl Resource {
    /// A request for a whole connection outside the schedule.
    pub(crate) fn of_connection(path: Spanned<String>, records: Spanned<String>) -> Self {
        let day = Interval::from_ms(24 * 60 * 60 * 1000).unwrap_or(Interval::MIN);
        Self {
            by_default: false,
            unit: Unit::Connection,
            batch_max: None,
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
            each: None,
            id: None,
            records,
            value: BTreeMap::new(),
            stale_after: None,
            offline_after: None,
            older_replaces: false,
            missing: Missing::Gone,
        }
    }

    /// How many devices one call may serve.
    pub fn places(&self) -> u32 {
        match self.unit {
            Unit::Device => 1,
            Unit::Batch => self.batch_max.unwrap_or(1),
            Unit::Group | Unit::Connection => self.batch_max.unwrap_or(WHOLE_MAX),
        }
    }

    /// The cost per call without that of its devices: all pages that it may have, and its probe. Saturates; loading
    /// refuses a definition that would.
    pub fn cost_per_call(&self) -> u32 {
        let pages = self.pages.as_ref().map_or(1, |pages| pages.get_ref().max);
        self.cost.saturating_mul(pages).saturating_add(self.probe.as_ref().map_or(0, |probe| probe.cost()))
    }

    /// Whether validators are stored beside its readings, so that the next call can ask only for what is new.
    pub fn has_validators(&self) -> bool {
        self.conditional || self.since.is_some() || self.probe.is_some()
    }

    /// How long calls may ask only for what is new before one asks for everything, ms.
    pub fn whole_every_ms(&self) -> i64 {
        self.whole_every.map_or(24 * 60 * 60 * 1000, |every| every.as_ms().cast_signed())
    }

    /// The cost of a call for this many devices.
    pub fn cost_of(&self, devices: u32) -> u32 {
        self.cost_per_call() + self.cost_per_device * devices
    }

    /// How much later than the call's instant its last request may be sent, ms: after its probe, or as its last page.
    pub fn pages_ms(&self) -> u64 {
        let pages = self.pages.as_ref().map_or(0, |pages| pages.get_ref().within.as_ms());
        pages + self.probe.as_ref().map_or(0, |probe| probe.within.as_ms())
    }
}

/// The most jobs that a call for a whole group or connection serves by default; more take another call.
const WHOLE_MAX: u32 = 1000;

/// The request before a call, judged as the call is; the call then asks only for the devices that have changed.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "ProbeTable")]
pub struct Probe {
    /// Set by `named`, once the resource's name is known.
    name: Option<ResourceName>,
    call: Spanned<Resource>,
    /// The call is sent within this time after the probe, or not at all.
    pub within: Interval,
}

/// The table in the file. A call is granted with its probe: both costs are spent, whether or not anything has changed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Probe")]
pub(crate) struct ProbeTable {
    /// The request's cost.
    #[serde(default = "one")]
    cost: u32,
    /// The call is sent within this time after the probe; the quotas that count the resource are spaced by this much
    /// more.
    #[serde(default = "default_within")]
    within: Interval,
    /// The request's method.
    #[serde(default)]
    method: Method,
    /// Template of the path below `base_url`; sees what the call's template sees.
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
    /// jq: the response → one `{id, revision, online}` per device. A revision is a string or a number that differs once
    /// the device's data differs; a device without one counts as changed.
    #[schemars(with = "String")]
    revisions: Spanned<String>,
}

fn one() -> u32 {
    1
}

fn default_within() -> Interval {
    Interval::from_ms(10_000).unwrap_or(Interval::MIN)
}

impl From<ProbeTable> for Probe {
    fn from(table: ProbeTable) -> Self {
        let (span, within) = (table.path.span(), table.within);
        let resource = Resource {
            cost: table.cost,
            method: table.method,
            query: table.query,
            json: table.json,
            form: table.form,
            ..Resource::of_connection(table.path, table.revisions)
        };
        Self { name: None, call: Spanned::new(span, resource), within }
    }
}

impl Probe {
    /// Sets the resource whose probe it is.
    pub(crate) fn named(&mut self, resource: &ResourceName) {
        self.name = Some(resource.probe_of());
    }

    /// Its name among requests, once it is loaded, and the request as a call for a resource whose `records` are
    /// revisions.
    pub fn named_call(&self) -> Option<(&ResourceName, &Spanned<Resource>)> {
        Some((self.name.as_ref()?, &self.call))
    }

    /// The request as a call for a resource.
    pub(crate) fn call(&self) -> &Resource {
        self.call.get_ref()
    }

    /// Its cost.
    pub fn cost(&self) -> u32 {
        self.call.get_ref().cost
    }
}
