//! `paceline why`

use super::{CliError, Context};
use crate::explain::{self, Explained};
use crate::preference::{find, tenants};
use crate::words::{JobState, UnixMs};
use serde::Serialize;
use std::fmt;

/// Which device.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline why 7
  paceline why th-7c9e6679 --tenant acme
  paceline why 7 --resource state --json | jq -r '.jobs[].sentence'

It asks Postgres what is wanted, the schedule where each job is and what it waits for, and, as `paceline plan` does,
what it can have in the long run.")]
pub struct Args {
    /// The device: its number, or with --tenant its external id
    device: String,
    /// Whose device
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only this one of its resources
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    device: i64,
    jobs: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    job: i64,
    resource: String,
    state: JobState,
    sentence: String,
    /// `due`, `ready` or `leased`; null where the schedule does not have it.
    place: Option<&'static str>,
    /// When it is or was due.
    due_at: Option<String>,
    /// The quota or hold that stops its account; null for none.
    why: Option<String>,
    /// Until when; null for not before a call ends.
    until: Option<String>,
    /// What it gets in the long run, if that is less than it asks.
    plan: Option<String>,
}

impl From<Explained> for Told {
    fn from(Explained { status, location, plan, sentence }: Explained) -> Self {
        let places = [(location.leased, "leased"), (location.ready, "ready"), (location.due, "due")];
        let is_timed = location.until_ms > 0.0 && location.until_ms.is_finite();
        Self {
            job: status.job.0,
            resource: status.resource.to_string(),
            state: status.state,
            sentence,
            place: places.iter().find(|(here, _)| *here).map(|(_, name)| *name),
            due_at: location.known.then(|| UnixMs(location.due_ms).to_string()),
            until: is_timed.then(|| UnixMs(location.until_ms as i64).to_string()),
            why: Some(location.why).filter(|why| !why.is_empty()),
            plan,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.jobs.is_empty() {
            let device = self.device;
            return write!(
                f,
                "Device {device} is not asked for that yet: \
                 `paceline set {device} --resource NAME --interval TIME` asks for it."
            );
        }
        self.jobs.iter().try_for_each(|job| writeln!(f, "{}: {}", job.resource, job.sentence))
    }
}

/// Explains the device's jobs.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
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
    context
        .output
        .answer(&Answer { device: subject.device.0, jobs: jobs.into_iter().map(Told::from).collect() })
}
