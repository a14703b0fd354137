//! `[bootstrap]`: values of an account that calls need, such as its id, asked for once.

use super::kinds::{Format, Method};
use super::resource::Resource;
use crate::words::ResourceName;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use toml::Spanned;

/// The request's name where resources are named, as in cases.
pub static BOOTSTRAP: LazyLock<ResourceName> = LazyLock::new(ResourceName::bootstrap);

/// The request for bootstrap values; its response is judged as that of a resource of the whole connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "BootstrapTable")]
pub struct Bootstrap(Spanned<Resource>);

/// The table in the file. The request is made once per connection, in place of the first granted call, and costs what
/// that call costs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Bootstrap")]
pub(crate) struct BootstrapTable {
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
    /// jq: the response → one object of strings and numbers, which templates see as `bootstrap`.
    #[schemars(with = "String")]
    values: Spanned<String>,
}

impl From<BootstrapTable> for Bootstrap {
    fn from(table: BootstrapTable) -> Self {
        let span = table.path.span();
        let resource = Resource {
            method: table.method,
            query: table.query,
            json: table.json,
            form: table.form,
            format: table.format,
            ..Resource::of_connection(table.path, table.values)
        };
        Self(Spanned::new(span, resource))
    }
}

impl Bootstrap {
    /// The request as a call for a resource whose `records` are the values.
    pub fn call(&self) -> &Spanned<Resource> {
        &self.0
    }
}
