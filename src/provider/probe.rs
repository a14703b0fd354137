//! `probe`: a request that tells which devices have changed.

use super::{Method, Resource};
use crate::words::{Interval, ResourceName};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

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
pub(super) struct Look {
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
    pub(super) fn named(&mut self, resource: &ResourceName) {
        self.name = Some(resource.probe_of());
    }

    /// What it is called among requests, once it is loaded, and the request as a call for a resource, whose `records`
    /// are revisions.
    pub fn named_call(&self) -> Option<(&ResourceName, &Spanned<Resource>)> {
        Some((self.name.as_ref()?, &self.call))
    }

    /// The request as a call for a resource.
    pub(super) fn call(&self) -> &Resource {
        self.call.get_ref()
    }

    /// What it costs.
    pub fn cost(&self) -> u32 {
        self.call.get_ref().cost
    }
}
