//! "Refresh now": one job ahead of everything, as soon as the quotas let it.

use crate::app::App;
use crate::keep;
use crate::postgres::PostgresError;
use crate::preference::job_status::{self, JobStatus};
use crate::provider::Provider;
use crate::redis::RedisError;
use crate::schedule::{Limited, LimitedBy, Refresh, RefreshBounds, RefreshLimits, RefreshesLeft};
use crate::words::{DeviceId, JobId, JobState, ResourceName, TenantId, UnixMs};
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;

/// A client waits for the response: a Redis that takes longer counts as unreachable.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What became of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RefreshStatus {
    /// It runs ahead of everything, as soon as the quotas let it.
    Queued,
    /// It was asked for before and has not run yet: it runs once.
    Waiting,
    /// It is being fetched at this moment.
    Running,
}

/// An accepted refresh.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// What became of it.
    pub status: RefreshStatus,
    /// When the last good answer so far came: once there is a later one, it has run.
    pub fetched_at: Option<UnixMs>,
    /// How many more the tenant may ask for.
    pub left: RefreshesLeft,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A user of the tenant, whose refreshes have limits.
    Tenant,
    /// The operator.
    Operator,
}

/// Why a job cannot be refreshed. The texts are for the command line.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The device has no job of this resource.
    #[error(
        "device {device} is not asked for {resource} yet: \
         `paceline set {device} --resource {resource} --interval TIME` asks for it"
    )]
    NoJob {
        /// The device.
        device: DeviceId,
        /// The resource.
        resource: ResourceName,
    },
    /// Its owner paused it.
    #[error(
        "{resource} of device {device} is paused by its owner: `paceline set {device} --resource {resource} --resume` \
         runs it again"
    )]
    Paused {
        /// The device.
        device: DeviceId,
        /// The resource.
        resource: ResourceName,
    },
    /// Its account may not be used.
    #[error(
        "the provider refuses the credential of connection {label:?} ({reason}): \
         `paceline connection secret --tenant NAME {label} --secret-file FILE` gives it a new one, or its owner allows \
         it again by `paceline connection authorize`"
    )]
    NeedsReauth {
        /// What its owner calls the account.
        label: String,
        /// Why.
        reason: String,
    },
    /// The schedule lacks it: it was lost, or is being changed.
    #[error("the job is not in the schedule yet; try again in a few seconds")]
    NotYet,
    /// The tenant asks for too many.
    #[error("{}", limit_text(.limited))]
    Limited {
        /// By what.
        limited: Limited,
        /// How many more it may ask for.
        left: RefreshesLeft,
        /// Of how many.
        bounds: RefreshBounds,
    },
    /// The schedule did not answer in time.
    #[error("the schedule in Redis did not answer in time; try again in a few seconds")]
    NoAnswer,
    /// Redis.
    #[error("the schedule in Redis could not be asked; try again in a few seconds")]
    Redis(#[from] RedisError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

fn limit_text(Limited { by, wait }: &Limited) -> String {
    let seconds = wait.as_secs_f64().ceil();
    let why = match by {
        LimitedBy::Job => "this job was refreshed just now",
        LimitedBy::Tenant => "you asked for as many refreshes as you may at once",
        LimitedBy::Share(quota) => {
            return format!(
                "refreshes have had your share of the provider's limit {quota:?}, which all its users have in common: \
                 try again in {seconds} s, or set a shorter interval"
            );
        }
    };
    format!("{why}: try again in {seconds} s, or set a shorter interval")
}

/// The limits of refreshes.
pub fn refresh_bounds(app: &App) -> RefreshBounds {
    let crate::settings::Refresh { tenant_amount, tenant_window, job_every, app_share } =
        app.settings.refresh;
    RefreshBounds { amount: tenant_amount, window: tenant_window, job_every, app_share }
}

/// Puts a job of the tenant's device first. Asked twice, it runs once.
pub async fn refresh_now(
    app: &App,
    asker: Asker,
    tenant: TenantId,
    device: DeviceId,
    provider: &Provider,
    resource: &ResourceName,
) -> Result<Refreshed, RefreshError> {
    let jobs = job_status::of_devices(&app.pool, tenant, &[device]).await?;
    let found = jobs.into_iter().find(|job| job.resource == *resource);
    let no_job = || RefreshError::NoJob { device, resource: resource.clone() };
    let job = scheduled(found.ok_or_else(no_job)?, device)?;
    let limits =
        (asker == Asker::Tenant).then(|| RefreshLimits::of(refresh_bounds(app), tenant, provider, resource));
    let (mut answer, mut left) = ask(app, provider, job.job, limits.as_ref()).await?;
    if answer == Refresh::Unknown {
        keep::tell_soon(app, &provider.name, &[job.job]).await;
        (answer, left) = ask(app, provider, job.job, limits.as_ref()).await?;
    }
    let status = match answer {
        Refresh::Queued => RefreshStatus::Queued,
        Refresh::Waiting => RefreshStatus::Waiting,
        Refresh::Running => RefreshStatus::Running,
        Refresh::Limited(limited) => {
            return Err(RefreshError::Limited { limited, left, bounds: refresh_bounds(app) });
        }
        Refresh::Unknown => return Err(RefreshError::NotYet),
    };
    Ok(Refreshed { status, fetched_at: job.latest.map(|latest| latest.fetched_at), left })
}

/// The job, if the schedule must have it; or why it must not.
fn scheduled(status: JobStatus, device: DeviceId) -> Result<JobStatus, RefreshError> {
    let JobStatus { resource, label, .. } = &status;
    match status.state {
        JobState::Paused => Err(RefreshError::Paused { device, resource: resource.clone() }),
        JobState::Active | JobState::Probing if !status.usable => Err(RefreshError::NeedsReauth {
            label: label.clone(),
            reason: status.refusal.unwrap_or_else(|| "no reason is stored".to_owned()),
        }),
        JobState::Active | JobState::Probing => Ok(status),
    }
}

async fn ask(
    app: &App,
    provider: &Provider,
    job: JobId,
    limits: Option<&RefreshLimits>,
) -> Result<(Refresh, RefreshesLeft), RefreshError> {
    let asking = async {
        match limits {
            Some(limits) => app.queue.refresh_within(&provider.name, job, limits).await,
            None => {
                let answers = app.queue.refresh(&provider.name, &[job]).await?;
                Ok((answers.into_iter().next().unwrap_or(Refresh::Unknown), RefreshesLeft::default()))
            }
        }
    };
    Ok(timeout(TIMEOUT, asking).await.map_err(|_| RefreshError::NoAnswer)??)
}
