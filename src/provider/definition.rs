//! The shape of a provider's file. Unknown keys are refused, so that a typo does not become a default.

use super::auth::{About, Auth, Param};
use super::call::{
    BOOTSTRAP, Bootstrap, BootstrapTable, DISCOVERY, Discovery, DiscoveryTable, Resource, Rule,
};
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
    /// Its display name.
    pub title: String,
    /// The URL of its API documentation.
    #[serde(default)]
    pub docs: Option<String>,
    /// How calls are sent.
    pub http: Http,
    /// How requests carry a connection's credentials.
    #[serde(default = "no_auth")]
    #[schemars(with = "Auth")]
    pub auth: Spanned<Auth>,
    /// The params of a connection, beside its secrets. If none is declared, any param is accepted.
    #[serde(default, rename = "param")]
    #[schemars(with = "BTreeMap<String, Param>")]
    pub params: BTreeMap<String, Spanned<Param>>,
    /// Template of what the ids of devices are unique within, such as a home, where they repeat in others; sees
    /// `params` and `bootstrap`. A device's external_id is then `<scope>/<id>`; `device.external_id` in templates and
    /// `id` in programs stay the provider's own.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub id_scope: Option<Spanned<String>>,
    /// Descriptions of a connection's secrets.
    #[serde(default, rename = "secret")]
    #[schemars(with = "BTreeMap<String, About>")]
    pub secrets: BTreeMap<String, Spanned<About>>,
    /// The provider's limits. None means that no limit is known.
    #[serde(default, rename = "quota")]
    #[schemars(with = "Vec<Quota>")]
    pub quotas: Vec<Spanned<Quota>>,
    /// Where responses report what is left of a quota.
    #[serde(default, rename = "rate_limit")]
    #[schemars(with = "Vec<RateLimit>")]
    pub rate_limits: Vec<Spanned<RateLimit>>,
    /// Values of an account that calls need, asked for once.
    #[serde(default)]
    #[schemars(with = "Option<BootstrapTable>")]
    pub bootstrap: Option<Bootstrap>,
    /// The call that lists a connection's devices.
    #[serde(default)]
    #[schemars(with = "Option<DiscoveryTable>")]
    pub discovery: Option<Discovery>,
    /// What can be fetched.
    #[serde(rename = "resource")]
    #[schemars(with = "BTreeMap<ResourceName, Resource>")]
    pub resources: BTreeMap<Spanned<ResourceName>, Spanned<Resource>>,
    /// How responses are judged; the first match counts. A response that matches none is judged by its status.
    #[serde(default, rename = "rule")]
    #[schemars(with = "Vec<Rule>")]
    pub rules: Vec<Spanned<Rule>>,
}

impl Definition {
    /// Every declared request, by name: resources and their probes, discovery and bootstrap values.
    pub fn calls(&self) -> impl Iterator<Item = (&ResourceName, &Spanned<Resource>)> {
        let bootstrap = self.bootstrap.iter().map(|bootstrap| (&*BOOTSTRAP, bootstrap.call()));
        let listing = self.discovery.iter().map(|discovery| (&*DISCOVERY, discovery.call()));
        let own = self.resources.iter().map(|(name, resource)| (name.get_ref(), resource));
        let probes = self.resources.values().filter_map(|of| of.get_ref().probe.as_ref()?.named_call());
        own.chain(probes).chain(listing).chain(bootstrap)
    }
}

/// How calls are sent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Template of scheme, host and leading path; sees `params` and `bootstrap`.
    #[schemars(with = "String")]
    pub base_url: Spanned<String>,
    /// The hosts that calls may go to where a param sets the host, such as `*.example.com`. When absent: the host in
    /// `base_url`, or any host if `base_url` has a template for it.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub hosts: Vec<Spanned<String>>,
    /// The timeout of a request, body included.
    #[serde(default = "default_timeout")]
    pub timeout: Interval,
    /// The largest response, compressed or decompressed; a larger one is broken.
    #[serde(default = "default_body_bytes_max")]
    pub body_bytes_max: usize,
    /// Sent with every call.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<Spanned<String>, String>,
    /// The most calls in flight per process: granted, and not settled yet. Where Redis and Postgres are far, calls are
    /// granted early and settled late: with round trips of 200 ms to both, one counts for up to four seconds.
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
