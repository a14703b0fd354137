//! `paceline provider list`

use crate::cli::{CliError, Global, Output, context, table};
use crate::provider::{Provider, Registry};
use serde::Serialize;
use std::fmt;

#[derive(Serialize)]
struct ProviderList {
    providers: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    title: String,
    resources: Vec<String>,
    docs: Option<String>,
    file: String,
}

impl From<&Provider> for Row {
    fn from(provider: &Provider) -> Self {
        Self {
            name: provider.name.to_string(),
            title: provider.definition.title.clone(),
            resources: provider.resource_names().map(ToString::to_string).collect(),
            docs: provider.definition.docs.clone(),
            file: provider.file.clone(),
        }
    }
}

impl fmt::Display for ProviderList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = table::new(&["name", "title", "resources", "file"]);
        for row in &self.providers {
            table.add_row([&row.name, &row.title, &row.resources.join(", "), &row.file]);
        }
        table.fmt(f)
    }
}

pub(super) fn run(global: &Global) -> Result<(), CliError> {
    let settings = context::load_for_short_command(global)?;
    let registry = Registry::load(settings.providers.dir()).map_err(CliError::cannot_start)?;
    let providers = registry.iter().map(|provider| Row::from(provider.as_ref())).collect();
    Output { json: global.json }.answer(&ProviderList { providers })
}
