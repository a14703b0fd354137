//! `paceline refresh`

use super::{CliError, Context};
use crate::adhoc::{self, RefreshStatus};
use crate::preference::{find, tenants};
use serde::Serialize;
use std::fmt;

/// What to refresh.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline refresh 7
  paceline refresh th-7c9e6679 --tenant acme --resource state
  paceline refresh 7 --resource energy --json

It runs ahead of everything that waits, as soon as the provider's quotas let it; its next turn is kept. Asked twice
before it ran, it runs once. `paceline why` tells what it waits for.")]
pub struct Args {
    /// The device: its number, or with --tenant its external id
    device: String,
    /// Whose device
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Which of its resources; may be left out where only one can be meant
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    device: i64,
    resource: String,
    status: RefreshStatus,
    fetched_at: Option<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.status {
            RefreshStatus::Queued => "goes ahead of everything, as soon as the quotas let it",
            RefreshStatus::Waiting => "was asked for before, and goes as soon as the quotas let it",
            RefreshStatus::Running => "is being fetched at this moment",
        };
        write!(f, "Device {}, {}: {what}.", self.device, self.resource)
    }
}

/// Asks for it, and says what comes of it.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let app = &context.app;
    let tenant = match &args.tenant {
        Some(name) => Some(tenants::find(&app.pool, name).await?),
        None => None,
    };
    let (tenant, subject) = find::device(&app.pool, tenant, &args.device).await?;
    let provider = app.registry.find(&subject.provider)?;
    let (name, _) =
        find::resource(&app.pool, tenant, subject.device, provider, args.resource.as_deref()).await?;
    let done = adhoc::refresh_now(app, tenant, subject.device, &provider.name, name).await?;
    context.output.answer(&Answer {
        device: subject.device.0,
        resource: name.to_string(),
        status: done.status,
        fetched_at: done.fetched_at.map(|at| at.to_string()),
    })
}
