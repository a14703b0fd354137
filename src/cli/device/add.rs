//! `paceline device add`

use crate::cli::{CliError, Context};
use crate::preference::import::{self, Row, RowJob};
use serde::Serialize;
use std::fmt;

/// The device to add.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline device add --tenant acme --connection main --external-id th-7c9e6679 --name Kitchen
  paceline device add --tenant acme --connection main --external-id pv-01b2c3d4 \\
      --resource energy --interval 5m --priority low

With no resource, interval or priority named it gets what the provider's file declares by default.")]
pub struct Args {
    /// Whose device
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Under which connection: its label or number
    #[arg(long, value_name = "LABEL")]
    connection: String,
    /// The provider's id of it
    #[arg(long, value_name = "ID")]
    external_id: String,
    /// What to call it
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,
    /// Its home or site, if the provider has such
    #[arg(long, value_name = "KEY", default_value = "")]
    group: String,
    /// What is wanted of it, such as state
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// How often, such as 30s or 5m
    #[arg(long, value_name = "TIME")]
    interval: Option<String>,
    /// How much it matters: realtime, high, normal, low or background
    #[arg(long, value_name = "WORD")]
    priority: Option<String>,
}

#[derive(Serialize)]
struct Added {
    device: i64,
    external_id: String,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device {}, {:?}, is stored.", self.device, self.external_id)
    }
}

/// Adds it.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let (account, provider) = super::account(context, &args.tenant, &args.connection).await?;
    let external_id = args.external_id.clone();
    let job = RowJob { resource: args.resource, interval: args.interval, priority: args.priority };
    let jobs = (job != RowJob::default()).then_some(job).into_iter().collect();
    let row = Row { external_id: args.external_id, name: args.name, group: args.group, jobs };
    let wanted = import::check(&provider, row).map_err(CliError::refused)?;
    let added = import::add(&context.app.pool, &account, vec![wanted]).await?;
    context.tell_schedule().await;
    let device = added.first().copied().unwrap_or_default();
    context.output.answer(&Added { device, external_id })
}
