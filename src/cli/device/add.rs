//! `paceline device add`

use super::Account;
use crate::cli::{CliError, Context};
use crate::preference::import::{self, Row, RowJob};
use serde::Serialize;
use std::fmt;

/// The device to add or change.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline device add --tenant acme --connection main --external-id th-7c9e6679 --name Kitchen
  paceline device add --tenant acme --connection main --external-id pv-01b2c3d4 \\
      --resource energy --interval 5m --priority low

Without --resource, --interval and --priority a new device gets the definition's default jobs. If a device of this \
external id exists, its name and group are changed and the job is added or changed.")]
pub struct Args {
    /// Tenant that owns the device
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Connection of the device: its label or number
    #[arg(long, value_name = "LABEL")]
    connection: String,
    /// The provider's id of the device
    #[arg(long, value_name = "ID")]
    external_id: String,
    /// Name to show
    #[arg(long, value_name = "TEXT", default_value = "")]
    name: String,
    /// Its group, such as a home or site, if the provider has groups
    #[arg(long, value_name = "KEY", default_value = "")]
    group: String,
    /// Resource to fetch, such as state
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// How often to fetch, such as 30s or 5m
    #[arg(long, value_name = "TIME")]
    interval: Option<String>,
    /// Priority: realtime, high, normal, low or background
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
        write!(f, "Stored device {}, {:?}.", self.device, self.external_id)
    }
}

/// Adds or changes the device.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let Account { account, provider, id_prefix } =
        super::find_account(context, &args.tenant, &args.connection).await?;
    let job = RowJob { resource: args.resource, interval: args.interval, priority: args.priority };
    let jobs = (job != RowJob::default()).then_some(job).into_iter().collect();
    let row = Row { external_id: args.external_id, name: args.name, group: args.group, jobs };
    let device = import::check(&provider, &id_prefix, row).map_err(CliError::refused)?;
    let external_id = device.device.external_id.clone();
    let added = import::add(&context.app.pool, &account, vec![device], (&provider, &id_prefix)).await?;
    context.update_schedule().await;
    let device = added.first().copied().unwrap_or_default();
    context.output.answer(&Added { device, external_id })
}
