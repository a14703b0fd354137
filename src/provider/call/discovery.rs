//! `[discovery]`: how a connection's devices are listed.

use super::kinds::{Format, Method};
use super::pages::Pages;
use super::resource::Resource;
use crate::words::ResourceName;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use toml::Spanned;

/// What the listing is called where resources are named: by quotas that count it, and in cases.
pub static DISCOVERY: LazyLock<ResourceName> = LazyLock::new(ResourceName::discovery);

/// The call that lists a connection's devices: asked for, paged and judged as a resource of the whole connection is.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Listing")]
pub struct Discovery(Spanned<Resource>);

/// As the file has it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Discovery")]
pub(crate) struct Listing {
    /// What the call costs, each page.
    #[serde(default = "one")]
    cost: u32,
    /// The request's method.
    #[serde(default)]
    method: Method,
    /// Template of the path below `base_url`; sees `params` and `request`, as a resource's.
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
    /// How the answer is written.
    #[serde(default)]
    format: Format,
    /// How further pages are found, if the answer has any.
    #[serde(default)]
    #[schemars(with = "Option<Pages>")]
    pages: Option<Spanned<Pages>>,
    /// jq: the answer → one `{id, name, group, model, resources}` a device. `id` is its external_id; the others may be
    /// left out. `resources` are those that it gets when it is new; absent: those that are `by_default`.
    #[schemars(with = "String")]
    devices: Spanned<String>,
}

fn one() -> u32 {
    1
}

impl From<Listing> for Discovery {
    fn from(listing: Listing) -> Self {
        let span = listing.path.span();
        let resource = Resource {
            cost: listing.cost,
            method: listing.method,
            query: listing.query,
            json: listing.json,
            form: listing.form,
            format: listing.format,
            pages: listing.pages,
            ..Resource::of_connection(listing.path, listing.devices)
        };
        Self(Spanned::new(span, resource))
    }
}

impl Discovery {
    /// The call as that of a resource, whose `records` are devices.
    pub fn call(&self) -> &Spanned<Resource> {
        &self.0
    }
}
