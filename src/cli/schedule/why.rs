//! `paceline why`

use crate::cli::{CliError, Context};
use crate::explain::{self, Explained};
use crate::preference::{find, tenants};
use crate::words::{JobState, UnixMs};
use serde::Serialize;
use std::fmt;

/// The device to explain.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline why 7
  paceline why th-7c9e6679 --tenant acme
  paceline why 7 --resource state --json | jq -r '.jobs[].sentence'

Shows one sentence per job: its state in Postgres, where it is in the schedule and which quota or hold it waits \
for, and how often it can run in the long run if that is less often than asked (see `paceline plan`).")]
pub struct Args {
    /// Number of the device, or with --tenant its external id
    device: String,
    /// Tenant that owns the device
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Explain only this resource
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
}

#[derive(Serialize)]
struct WhyReport {
    device: i64,
    jobs: Vec<JobReport>,
}

#[derive(Serialize)]
struct JobReport {
    job: i64,
    resource: String,
    state: JobState,
    sentence: String,
    /// `due`, `ready` or `leased`; null if the schedule does not have the job.
    place: Option<&'static str>,
    /// When the job is or was due.
    due_at: Option<String>,
    /// The quota or hold that the job's lane waits for; null if none.
    why: Option<String>,
    /// Until when it waits; null if until a call ends.
    until: Option<String>,
    /// The interval that is possible in the long run, if longer than asked.
    plan: Option<String>,
}

impl From<Explained> for JobReport {
    fn from(Explained { status, location, plan, sentence }: Explained) -> Self {
        let places = [(location.leased, "leased"), (location.ready, "ready"), (location.due, "due")];
        let has_end = location.until_ms > 0.0 && location.until_ms.is_finite();
        Self {
            job: status.job.0,
            resource: status.resource.to_string(),
            state: status.state,
            sentence,
            place: places.iter().find(|(is_here, _)| *is_here).map(|(_, name)| *name),
            due_at: location.known.then(|| UnixMs(location.due_ms).to_string()),
            until: has_end.then(|| UnixMs(location.until_ms as i64).to_string()),
            why: Some(location.blocked_by).filter(|why| !why.is_empty()),
            plan,
        }
    }
}

impl fmt::Display for WhyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.jobs.is_empty() {
            let device = self.device;
            return write!(
                f,
                "Device {device} has no such job: `paceline set {device} --resource NAME --interval TIME` adds it."
            );
        }
        self.jobs.iter().try_for_each(|job| writeln!(f, "{}: {}", job.resource, job.sentence))
    }
}

/// Explains the jobs of the device.
pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let app = &context.app;
    let tenant = match &args.tenant {
        Some(name) => Some(tenants::find(&app.pool, name).await?),
        None => None,
    };
    let (tenant, subject) = find::device(&app.pool, tenant, &args.device).await?;
    let provider = app.registry.find(&subject.provider)?;
    let resource = match &args.resource {
        Some(name) => Some(provider.find_resource(name)?.0),
        None => None,
    };
    let jobs = explain::device(app, tenant, subject.device, provider, resource).await?;
    context.output.answer(&WhyReport {
        device: subject.device.0,
        jobs: jobs.into_iter().map(JobReport::from).collect(),
    })
}
