//! `paceline refresh`

use crate::adhoc::{self, Asker, RefreshStatus};
use crate::cli::{CliError, Context};
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

The job runs ahead of all waiting jobs, as soon as the provider's quotas allow; its regular schedule stays as it \
is. A second request before it ran changes nothing. `paceline why` shows what the job waits for.")]
pub struct Args {
    /// Number of the device, or with --tenant its external id
    device: String,
    /// Tenant that owns the device
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Resource, such as state; optional if unambiguous
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
}

#[derive(Serialize)]
struct RefreshReport {
    device: i64,
    resource: String,
    status: RefreshStatus,
    fetched_at: Option<String>,
}

impl fmt::Display for RefreshReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            RefreshStatus::Queued => "queued ahead of all waiting jobs; it runs as soon as the quotas allow",
            RefreshStatus::Waiting => "already queued; it runs as soon as the quotas allow",
            RefreshStatus::Running => "running now",
        };
        write!(f, "Device {}, {}: {status}.", self.device, self.resource)
    }
}

/// Queues the refresh, and prints where the job is.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let app = &context.app;
    let tenant = match &args.tenant {
        Some(name) => Some(tenants::find(&app.pool, name).await?),
        None => None,
    };
    let (tenant, subject) = find::device(&app.pool, tenant, &args.device).await?;
    let provider = app.registry.find(&subject.provider)?;
    let (name, _) =
        find::resource(&app.pool, tenant, subject.device, provider, args.resource.as_deref()).await?;
    let refresh = adhoc::refresh_now(app, Asker::Operator, tenant, subject.device, provider, name).await?;
    context.output.answer(&RefreshReport {
        device: subject.device.0,
        resource: name.to_string(),
        status: refresh.status,
        fetched_at: refresh.fetched_at.map(|at| at.to_string()),
    })
}
