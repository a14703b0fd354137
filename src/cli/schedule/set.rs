//! `paceline set`

use crate::cli::{CliError, Context};
use crate::preference::jobs::{self, JobPatch, StoredJob};
use crate::preference::{find, tenants};
use crate::words::{Interval, JobState, Priority};
use serde::Serialize;
use std::fmt;

/// The device, and what to change.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline set 7 --interval 30s --priority high
  paceline set th-7c9e6679 --tenant acme --resource state --pause
  paceline set 7 --resume

What is not given stays as it is. The interval may not be shorter than the provider's minimum.")]
pub struct Args {
    /// Number of the device, or with --tenant its external id
    device: String,
    /// Tenant that owns the device
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Resource, such as state; optional if unambiguous
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// What to change.
    #[command(flatten)]
    patch: PatchArgs,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct PatchArgs {
    /// How often to fetch, such as 30s or 5m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    interval: Option<String>,
    /// Priority: realtime, high, normal, low or background
    #[arg(long, value_name = "WORD")]
    priority: Option<Priority>,
    /// Stop fetching until --resume
    #[arg(long, conflicts_with = "resume")]
    pause: bool,
    /// Fetch again after --pause; a probing job is tried at once
    #[arg(long)]
    resume: bool,
}

impl PatchArgs {
    fn paused(&self) -> Option<bool> {
        match (self.pause, self.resume) {
            (false, false) => None,
            (pause, _) => Some(pause),
        }
    }
}

#[derive(Serialize)]
struct JobView {
    job: i64,
    device: i64,
    provider: String,
    resource: String,
    interval: Interval,
    priority: Priority,
    state: JobState,
}

impl From<StoredJob> for JobView {
    fn from(StoredJob { job, .. }: StoredJob) -> Self {
        Self {
            job: job.id.0,
            device: job.device.0,
            provider: job.provider.to_string(),
            resource: job.resource.to_string(),
            interval: job.interval,
            priority: job.priority,
            state: job.state,
        }
    }
}

impl fmt::Display for JobView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, resource, interval, priority, .. } = self;
        write!(
            f,
            "Device {device}, {resource}: every {interval}, priority {priority}, {}.",
            self.state.as_str()
        )
    }
}

/// Stores the preference, and prints it as stored.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let pool = &context.app.pool;
    let tenant = match &args.tenant {
        Some(name) => Some(tenants::find(pool, name).await?),
        None => None,
    };
    let (tenant, subject) = find::device(pool, tenant, &args.device).await?;
    let provider = context.app.registry.find(&subject.provider)?;
    let (name, resource) =
        find::resource(pool, tenant, subject.device, provider, args.resource.as_deref()).await?;
    let parse = |text: &String| Interval::parse_within(text, resource.interval_min);
    let patch = JobPatch {
        interval: args.patch.interval.as_ref().map(parse).transpose().map_err(CliError::refused)?,
        priority: args.patch.priority,
        paused: args.patch.paused(),
    };
    let set = jobs::set(pool, tenant, &subject, name, &patch, resource.interval_default, None).await?;
    context.update_schedule().await;
    let ids: Vec<_> = set.iter().map(|job| job.id.0).collect();
    match jobs::by_id(pool, &ids).await?.pop() {
        Some(job) => context.output.answer(&JobView::from(job)),
        None => Err(CliError::refused("the job was stored, then removed by another request")),
    }
}
