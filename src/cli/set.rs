//! `paceline set`

use super::{CliError, Context};
use crate::preference::jobs::{self, JobPatch, StoredJob};
use crate::preference::{find, tenants};
use crate::words::{Interval, JobState, Priority};
use serde::Serialize;
use std::fmt;

/// The preference.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline set 7 --interval 30s --priority high
  paceline set th-7c9e6679 --tenant acme --resource state --pause
  paceline set 7 --resume")]
pub struct Args {
    /// The device: its number, or with --tenant its external id
    device: String,
    /// Whose device
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Which of its resources; may be left out where only one can be meant
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// What is wished.
    #[command(flatten)]
    patch: Wished,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
struct Wished {
    /// How often, such as 30s or 5m
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    interval: Option<String>,
    /// How much it matters: realtime, high, normal, low or background
    #[arg(long, value_name = "WORD")]
    priority: Option<Priority>,
    /// Stop running it until --resume
    #[arg(long, conflicts_with = "resume")]
    pause: bool,
    /// Run it again
    #[arg(long)]
    resume: bool,
}

impl Wished {
    fn paused(&self) -> Option<bool> {
        match (self.pause, self.resume) {
            (false, false) => None,
            (pause, _) => Some(pause),
        }
    }
}

#[derive(Serialize)]
struct Stored {
    job: i64,
    device: i64,
    provider: String,
    resource: String,
    interval: Interval,
    priority: Priority,
    state: JobState,
}

impl From<StoredJob> for Stored {
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

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, resource, interval, priority, .. } = self;
        write!(
            f,
            "Device {device}, {resource}: every {interval}, priority {priority}, {}.",
            self.state.as_str()
        )
    }
}

/// Stores it, and shows what is stored.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let pool = &context.app.pool;
    let tenant = match &args.tenant {
        Some(name) => Some(tenants::find(pool, name).await?),
        None => None,
    };
    let (tenant, subject) = find::device(pool, tenant, &args.device).await?;
    let provider = context.app.registry.find(&subject.provider)?;
    let (name, resource) =
        find::resource(pool, tenant, subject.device, provider, args.resource.as_deref()).await?;
    let within = |text: &String| Interval::parse_within(text, resource.interval_min);
    let patch = JobPatch {
        interval: args.patch.interval.as_ref().map(within).transpose().map_err(CliError::refused)?,
        priority: args.patch.priority,
        paused: args.patch.paused(),
    };
    let id = jobs::set(pool, tenant, &subject, name, &patch, resource.interval_default).await?;
    context.tell_schedule().await;
    match jobs::by_id(pool, &[id.0]).await?.pop() {
        Some(job) => context.output.answer(&Stored::from(job)),
        None => Err(CliError::refused(format!("job {id} was stored, and removed at once by somebody else"))),
    }
}
