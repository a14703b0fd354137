//! The shape of a provider's file. Unknown keys are refused: a typo must not become a default.

use super::bootstrap::Asked;
use super::discovery::Listing;
use super::probe::Look;
use super::{
    About, Auth, BOOTSTRAP, Bootstrap, DISCOVERY, Discovery, Pages, Param, Probe, Quota, RateLimit, Rule,
};
use crate::words::{Interval, ResourceName};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// One provider's file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Its name for people.
    pub title: String,
    /// Where its API is documented.
    #[serde(default)]
    pub docs: Option<String>,
    /// Where and how calls go out.
    pub http: Http,
    /// How a connection's credentials travel.
    #[serde(default = "no_auth")]
    #[schemars(with = "Auth")]
    pub auth: Spanned<Auth>,
    /// What a connection must say beside its secrets. None declared: whatever it says is taken.
    #[serde(default, rename = "param")]
    #[schemars(with = "BTreeMap<String, Param>")]
    pub params: BTreeMap<String, Spanned<Param>>,
    /// What its secrets are.
    #[serde(default, rename = "secret")]
    #[schemars(with = "BTreeMap<String, About>")]
    pub secrets: BTreeMap<String, Spanned<About>>,
    /// The limits it sets. None is a statement too: "we know of none".
    #[serde(default, rename = "quota")]
    #[schemars(with = "Vec<Quota>")]
    pub quotas: Vec<Spanned<Quota>>,
    /// Where answers tell what is left of a quota.
    #[serde(default, rename = "rate_limit")]
    #[schemars(with = "Vec<RateLimit>")]
    pub rate_limits: Vec<Spanned<RateLimit>>,
    /// What a cloud tells of an account that its calls need.
    #[serde(default)]
    #[schemars(with = "Option<Asked>")]
    pub bootstrap: Option<Bootstrap>,
    /// How a connection's devices are listed.
    #[serde(default)]
    #[schemars(with = "Option<Listing>")]
    pub discovery: Option<Discovery>,
    /// What can be fetched.
    #[serde(rename = "resource")]
    #[schemars(with = "BTreeMap<ResourceName, Resource>")]
    pub resources: BTreeMap<Spanned<ResourceName>, Spanned<Resource>>,
    /// How answers are judged, first match first; what none matches is judged by its status.
    #[serde(default, rename = "rule")]
    #[schemars(with = "Vec<Rule>")]
    pub rules: Vec<Spanned<Rule>>,
}

impl Definition {
    /// Every request that it declares, by what it asks for: resources and their probes, the listing of devices and
    /// bootstrap values.
    pub fn calls(&self) -> impl Iterator<Item = (&ResourceName, &Spanned<Resource>)> {
        let bootstrap = self.bootstrap.iter().map(|bootstrap| (&*BOOTSTRAP, bootstrap.call()));
        let listing = self.discovery.iter().map(|discovery| (&*DISCOVERY, discovery.call()));
        let own = self.resources.iter().map(|(name, resource)| (name.get_ref(), resource));
        let probes = self.resources.values().filter_map(|of| of.get_ref().probe.as_ref()?.named_call());
        own.chain(probes).chain(listing).chain(bootstrap)
    }
}

/// Where and how calls go out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Template of scheme, host and leading path; sees `params` and `bootstrap`.
    #[schemars(with = "String")]
    pub base_url: Spanned<String>,
    /// The hosts that `base_url` may come to where a param names it, such as `*.example.com`. Absent: the host that
    /// `base_url` itself names, or any.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub hosts: Vec<Spanned<String>>,
    /// The longest a whole call may take, body included.
    #[serde(default = "default_timeout")]
    pub timeout: Interval,
    /// A larger answer is broken, as it comes over the wire or unpacked.
    #[serde(default = "default_body_bytes_max")]
    pub body_bytes_max: usize,
    /// Sent with every call.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<Spanned<String>, String>,
    /// How many calls one process keeps in flight.
    #[serde(default = "default_in_flight")]
    pub in_flight: usize,
}

fn no_auth() -> Spanned<Auth> {
    Spanned::new(0..0, Auth::default())
}

fn default_timeout() -> Interval {
    Interval::from_ms(10_000).unwrap_or(Interval::MIN)
}

fn default_body_bytes_max() -> usize {
    4 << 20
}

fn default_in_flight() -> usize {
    64
}

fn one() -> u32 {
    1
}

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
    pub(super) fn of_connection(path: Spanned<String>, records: Spanned<String>) -> Self {
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

/// How many devices one call serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// One.
    #[default]
    Device,
    /// Those whose ids it names, up to `batch_max`.
    Batch,
    /// All of a group.
    Group,
    /// All of a connection.
    Connection,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON text.
    #[default]
    Json,
    /// A JSON text a line: jq sees an array of them. An error's answer is one JSON text nevertheless.
    Ndjson,
}

/// The request's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    #[default]
    Get,
    /// Reads too, at clouds that ask by posting.
    Post,
}

/// What a device means that is absent from an answer that should hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// The provider does not know it any more.
    #[default]
    Gone,
    /// The provider leaves out what it cannot reach.
    Offline,
}
