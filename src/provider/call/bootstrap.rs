//! `[bootstrap]`: what a cloud tells of an account that its calls need.

use super::kinds::{Format, Method};
use super::resource::Resource;
use crate::words::ResourceName;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use toml::Spanned;

/// What the request is called where resources are named, as in cases.
pub static BOOTSTRAP: LazyLock<ResourceName> = LazyLock::new(ResourceName::bootstrap);

/// The request that tells it: judged as a resource's of the whole connection is.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Asked")]
pub struct Bootstrap(Spanned<Resource>);

/// As the file has it. The request is made once a connection, in the place of the first call that is granted, and costs
/// what that costs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Bootstrap")]
pub(crate) struct Asked {
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
    /// jq: the answer → one object of texts and numbers, which templates see as `bootstrap`.
    #[schemars(with = "String")]
    values: Spanned<String>,
}

impl From<Asked> for Bootstrap {
    fn from(asked: Asked) -> Self {
        let span = asked.path.span();
        let resource = Resource {
            method: asked.method,
            query: asked.query,
            json: asked.json,
            form: asked.form,
            format: asked.format,
            ..Resource::of_connection(asked.path, asked.values)
        };
        Self(Spanned::new(span, resource))
    }
}

impl Bootstrap {
    /// The request as a call for a resource, whose `records` are the values.
    pub fn call(&self) -> &Spanned<Resource> {
        &self.0
    }
}
