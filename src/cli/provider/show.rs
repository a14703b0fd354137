//! `paceline provider show`

use crate::cli::{CliError, Global, Output, context, table};
use crate::provider::{ProviderOverview, Registry, ResourceOverview};
use serde::Serialize;
use std::fmt;

/// The provider to show.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline provider show tado
  paceline provider show tado --json | jq '.resources.climate.values'

Readings may have further values, whose names only the provider's responses tell.")]
pub struct Args {
    /// Name of the provider, as `paceline provider list` shows it
    name: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown(ProviderOverview);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(provider) = self;
        write!(f, "{} ({})", provider.title, provider.name)?;
        for (name, resource) in &provider.resources {
            write!(f, "\n\n{name}: {}", terms(resource))?;
            if resource.values.is_empty() {
                continue;
            }
            let mut table = table::new(&["value", "label", "kind", "unit"]);
            for (name, value) in &resource.values {
                let (label, unit) = (value.label.as_deref(), value.unit.as_deref());
                table.add_row([name, label.unwrap_or(""), value.kind.unwrap_or(""), unit.unwrap_or("")]);
            }
            write!(f, "\n{table}")?;
        }
        Ok(())
    }
}

/// `every 20m, at least 5m apart; one call serves up to 10 devices`
fn terms(resource: &ResourceOverview) -> String {
    let serves = match (resource.unit, resource.batch_max) {
        (_, Some(1)) => "one device".to_owned(),
        ("batch", Some(most)) => format!("up to {most} devices"),
        (unit, Some(most)) => format!("up to {most} devices of a {unit}"),
        (unit, None) => format!("all devices of a {unit}"),
    };
    let (usual, least) = (resource.interval_default, resource.interval_min);
    format!("every {usual} by default, {least} at the shortest; one call serves {serves}")
}

pub(super) fn run(global: &Global, args: &Args) -> Result<(), CliError> {
    let settings = context::load_for_short_command(global)?;
    let registry = Registry::load(settings.providers.dir()).map_err(CliError::cannot_start)?;
    let provider = registry.find(&args.name)?;
    Output { json: global.json }.answer(&Shown(provider.overview().clone()))
}
