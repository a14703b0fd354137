//! `paceline set`

use crate::change::Change;
use crate::cli::{CliError, Context};
use crate::preference::jobs::{self, StoredJob};
use crate::preference::{find, tenants};
use crate::words::{Interval, IntervalError, JobState, Priority, Window};
use serde::Serialize;
use std::fmt;

/// The device, and what to change.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline set 7 --interval 30s --priority high
  paceline set th-7c9e6679 --tenant acme --resource state --pause
  paceline set 7 --resume
  paceline set 7 --interval 10m --window 07:00-22:00=30s --zone Europe/Oslo

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
    /// Another interval by time of day, such as 07:00-22:00=30s or mon,fri/07:00-22:00=30s; may be repeated, needs
    /// --interval (outside of the windows) and --zone
    #[arg(long = "window", value_name = "WINDOW", value_parser = parse_window, requires = "interval")]
    windows: Vec<Window>,
    /// Time zone of the windows, such as Europe/Oslo
    #[arg(long, value_name = "ZONE", requires = "windows")]
    zone: Option<String>,
    /// Remove all windows
    #[arg(long, conflicts_with = "windows")]
    no_windows: bool,
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
    fn change(self) -> Change {
        Change {
            interval: self.interval,
            windows: (self.no_windows || !self.windows.is_empty()).then_some(self.windows),
            zone: self.zone,
            priority: self.priority,
            paused: match (self.pause, self.resume) {
                (false, false) => None,
                (pause, _) => Some(pause),
            },
        }
    }
}

/// `07:00-22:00=30s`, or with days `mon,fri/07:00-22:00=30s`.
fn parse_window(text: &str) -> Result<Window, String> {
    let bad = || "write FROM-TO=INTERVAL, such as 07:00-22:00=30s, or DAYS/FROM-TO=INTERVAL".to_owned();
    let (days, rest) = text.split_once('/').unwrap_or(("", text));
    let (times, interval) = rest.split_once('=').ok_or_else(bad)?;
    let (from, to) = times.split_once('-').ok_or_else(bad)?;
    Ok(Window {
        from: from.trim().to_owned(),
        to: to.trim().to_owned(),
        days: days.split(',').filter(|day| !day.is_empty()).map(|day| day.trim().to_owned()).collect(),
        interval: interval.parse().map_err(|error: IntervalError| error.to_string())?,
    })
}

#[derive(Serialize)]
struct JobView {
    job: i64,
    device: i64,
    provider: String,
    resource: String,
    /// The interval; with windows, the one outside of them.
    interval: Interval,
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<String>,
    priority: Priority,
    state: JobState,
}

impl From<StoredJob> for JobView {
    fn from(StoredJob { job, windows, .. }: StoredJob) -> Self {
        Self {
            job: job.id.0,
            device: job.device.0,
            provider: job.provider.to_string(),
            resource: job.resource.to_string(),
            interval: windows.as_ref().map_or(job.interval, |windows| windows.base),
            windows: windows.map(|windows| windows.timetable.to_string()),
            priority: job.priority,
            state: job.state,
        }
    }
}

impl fmt::Display for JobView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, resource, interval, priority, .. } = self;
        write!(f, "Device {device}, {resource}: every {interval}")?;
        self.windows.iter().try_for_each(|windows| write!(f, ", {windows}"))?;
        write!(f, ", priority {priority}, {}.", self.state.as_str())
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
    let patch = args.patch.change().patch(resource.interval_min).map_err(CliError::refused)?;
    let (default, now) = (resource.interval_default, context.app.clock.now());
    let set = jobs::set(pool, tenant, &subject, (name, default), &patch, None, now).await?;
    context.update_schedule().await;
    let ids: Vec<_> = set.iter().map(|asked| asked.job.id.0).collect();
    match jobs::by_id(pool, &ids).await?.pop() {
        Some(job) => context.output.answer(&JobView::from(job)),
        None => Err(CliError::refused("the job was stored, then removed by another request")),
    }
}
