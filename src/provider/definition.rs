//! The shape of a provider's file. Unknown keys are refused: a typo must not become a default.

use super::auth::{About, Auth, Param};
use super::call::{Asked, BOOTSTRAP, Bootstrap, DISCOVERY, Discovery, Listing, Resource, Rule};
use super::quota::{Quota, RateLimit};
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
