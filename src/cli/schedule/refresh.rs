//! `paceline refresh`

use crate::cli::{CliError, Context};
use crate::live::Live;
use crate::preference::{find, tenants};
use crate::refresh::{self, Asker, JobProgress, JobProgressState, RefreshStatus, Refreshed};
use crate::words::{Interval, TenantId};
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// What to refresh.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline refresh 7
  paceline refresh th-7c9e6679 --tenant acme --resource state
  paceline refresh 7 --resource energy --json
  paceline refresh 7 --wait 30s

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
    /// Wait for the end, at most for so long, and tell what came of it; `paceline why` tells more
    #[arg(long, value_name = "TIME")]
    wait: Option<Interval>,
}

#[derive(Serialize)]
struct RefreshReport {
    device: i64,
    resource: String,
    refresh: i64,
    status: RefreshStatus,
    fetched_at: Option<String>,
    #[serde(flatten)]
    end: Option<End>,
}

/// With --wait, how far it is.
#[derive(Serialize)]
struct End {
    state: JobProgressState,
    error: Option<String>,
}

impl fmt::Display for RefreshReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device {}, {}: ", self.device, self.resource)?;
        let Some(End { state, error }) = &self.end else {
            let status = match self.status {
                RefreshStatus::Queued => {
                    "queued ahead of all waiting jobs; it runs as soon as the quotas allow"
                }
                RefreshStatus::Waiting => "already queued; it runs as soon as the quotas allow",
                RefreshStatus::Running => "running now",
            };
            return write!(f, "{status}.");
        };
        match state {
            JobProgressState::Done => {
                let answered = self.fetched_at.as_deref().unwrap_or("none");
                write!(f, "done; last good answer: {answered}")?;
            }
            JobProgressState::Failed => f.write_str("failed")?,
            JobProgressState::Cancelled => f.write_str("not refreshed")?,
            JobProgressState::Queued => f.write_str("not ended yet: it waits for the quotas")?,
            JobProgressState::Running => f.write_str("not ended yet: it is running")?,
        }
        match error {
            Some(error) => write!(f, "; {error}."),
            None => f.write_str("."),
        }
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
    let device = subject.device;
    let asked = refresh::refresh_now(app, Asker::Operator, tenant, device, name).await?;
    let Refreshed { id, status, mut fetched_at, .. } = asked;
    let mut end = None;
    if let Some(wait) = args.wait
        && let Some(JobProgress { state, error, fetched_at: at, .. }) =
            ended(context, tenant, id, wait).await?
    {
        fetched_at = at;
        end = Some(End { state, error });
    }
    context.output.answer(&RefreshReport {
        device: device.0,
        resource: name.to_string(),
        refresh: id,
        status,
        fetched_at: fetched_at.map(|at| at.to_string()),
        end,
    })
}

/// How far the one job of a refresh is once it has ended, or after so long.
async fn ended(
    context: &Context,
    tenant: TenantId,
    id: i64,
    wait: Interval,
) -> Result<Option<JobProgress>, CliError> {
    let live = Live::start(context.app.clone());
    let deadline = Instant::now() + Duration::from_millis(wait.as_ms());
    let progress = refresh::wait(&context.app, &live, tenant, id, deadline).await?;
    Ok(progress.jobs.into_iter().next())
}
