//! `[discovery]`: the call that lists a connection's devices.

use super::kinds::{Format, Method};
use super::pages::Pages;
use super::resource::Resource;
use crate::words::ResourceName;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use toml::Spanned;

/// The call's name where resources are named: in quotas that count it, and in cases.
pub static DISCOVERY: LazyLock<ResourceName> = LazyLock::new(ResourceName::discovery);

/// The call that lists a connection's devices: sent, paged and judged as that of a resource of the whole connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "DiscoveryTable")]
pub struct Discovery(Spanned<Resource>);

/// The table in the file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Discovery")]
pub(crate) struct DiscoveryTable {
    /// The cost per page.
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
    /// The format of the response.
    #[serde(default)]
    format: Format,
    /// How further pages are found, if there are any.
    #[serde(default)]
    #[schemars(with = "Option<Pages>")]
    pages: Option<Spanned<Pages>>,
    /// jq: the response → one `{id, name, group, model, resources}` per device. `id` is its external_id; the others are
    /// optional. `resources` are those that a new device gets; when absent, those that are `by_default`.
    #[schemars(with = "String")]
    devices: Spanned<String>,
}

fn one() -> u32 {
    1
}

impl From<DiscoveryTable> for Discovery {
    fn from(table: DiscoveryTable) -> Self {
        let span = table.path.span();
        let resource = Resource {
            cost: table.cost,
            method: table.method,
            query: table.query,
            json: table.json,
            form: table.form,
            format: table.format,
            pages: table.pages,
            ..Resource::of_connection(table.path, table.devices)
        };
        Self(Spanned::new(span, resource))
    }
}

impl Discovery {
    /// The call as that of a resource whose `records` are devices.
    pub fn call(&self) -> &Spanned<Resource> {
        &self.0
    }
}
