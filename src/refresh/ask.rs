//! Puts jobs first. Asked twice before they have run, they run once.

use super::error::RefreshError;
use crate::app::App;
use crate::keep;
use crate::preference::job_status::{self, JobStatus};
use crate::preference::jobs::{self, JobFilter};
use crate::preference::refreshes;
use crate::provider::Provider;
use crate::schedule::{Refresh, RefreshBounds, RefreshLimits, RefreshesLeft};
use crate::words::{
    ConnectionState, DeviceId, JobId, JobState, ProviderName, ResourceName, TenantId, UnixMs,
};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::time::timeout;

/// A client waits for the response: a Redis that takes longer counts as unreachable.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The most jobs that are asked for at once.
const JOBS_MAX: usize = 500;

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

/// An accepted refresh of one job.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// Its number, see [`progress`](super::progress()).
    pub id: i64,
    /// What became of it.
    pub status: RefreshStatus,
    /// When the last good answer so far came.
    pub fetched_at: Option<UnixMs>,
    /// How many more the tenant may ask for.
    pub left: RefreshesLeft,
}

/// A refresh of many jobs, of which at least one is accepted.
#[derive(Debug)]
pub struct Asked {
    /// Its number, see [`progress`](super::progress()).
    pub id: i64,
    /// All jobs that were asked for.
    pub jobs: Vec<AskedJob>,
    /// How many more the tenant may ask for.
    pub left: RefreshesLeft,
}

/// One of its jobs.
#[derive(Debug)]
pub struct AskedJob {
    /// Its device.
    pub device: DeviceId,
    /// Its resource.
    pub resource: ResourceName,
    /// What became of it, or why it is not refreshed.
    pub status: Result<RefreshStatus, RefreshError>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A user of the tenant, whose refreshes have limits.
    Tenant,
    /// The operator.
    Operator,
}

/// The limits of refreshes.
pub fn bounds(app: &App) -> RefreshBounds {
    let crate::settings::Refresh { tenant_amount, tenant_window, job_every, app_share } =
        app.settings.refresh;
    RefreshBounds { amount: tenant_amount, window: tenant_window, job_every, app_share }
}

/// Puts a job of the tenant's device first.
pub async fn refresh_now(
    app: &App,
    asker: Asker,
    tenant: TenantId,
    device: DeviceId,
    resource: &ResourceName,
) -> Result<Refreshed, RefreshError> {
    let jobs = job_status::of_devices(&app.pool, tenant, &[device]).await?;
    let found = jobs.into_iter().find(|job| job.resource == *resource);
    let job = found.ok_or_else(|| RefreshError::NoJob { device, resource: resource.clone() })?;
    let fetched_at = job.latest.as_ref().map(|latest| latest.fetched_at);
    let Asked { id, jobs, left } = ask(app, asker, tenant, vec![job]).await?;
    let status = jobs.into_iter().next().map_or(Err(RefreshError::NotYet), |job| job.status)?;
    Ok(Refreshed { id, status, fetched_at, left })
}

/// Puts the tenant's jobs that match a filter first. The answer has a reason for each that cannot be refreshed. If none
/// can be, it is an error: the reason that is over soonest.
pub async fn refresh_all(
    app: &App,
    asker: Asker,
    tenant: TenantId,
    filter: &JobFilter,
) -> Result<Asked, RefreshError> {
    let matched = jobs::matching(&app.pool, tenant, filter).await?;
    if matched.is_empty() {
        return Err(RefreshError::NoJobs);
    }
    if matched.len() > JOBS_MAX {
        return Err(RefreshError::TooManyJobs { jobs: matched.len(), max: JOBS_MAX });
    }
    let ids: HashSet<_> = matched.iter().map(|job| job.job).collect();
    let devices: HashSet<_> = matched.iter().map(|job| job.device).collect();
    let devices: Vec<_> = devices.into_iter().collect();
    let mut statuses = job_status::of_devices(&app.pool, tenant, &devices).await?;
    statuses.retain(|job| ids.contains(&job.job));
    ask(app, asker, tenant, statuses).await
}

async fn ask(app: &App, asker: Asker, tenant: TenantId, all: Vec<JobStatus>) -> Result<Asked, RefreshError> {
    let mut answers = HashMap::<JobId, Result<RefreshStatus, RefreshError>>::new();
    let mut groups = BTreeMap::<(ProviderName, ResourceName), Vec<JobId>>::new();
    for job in &all {
        match schedulable(app, job) {
            Ok(_) => groups.entry((job.provider.clone(), job.resource.clone())).or_default().push(job.job),
            Err(error) => drop(answers.insert(job.job, Err(error))),
        }
    }
    // Read before they may run: what is another afterwards tells that they have.
    let asked: Vec<_> = groups.values().flatten().copied().collect();
    let standing = refreshes::standing(&app.pool, tenant, &asked).await?;
    let (mut left, mut failed) = (None::<RefreshesLeft>, None);
    for ((name, resource), jobs) in &groups {
        let Some(provider) = app.registry.get(name.as_str()) else { continue };
        match ask_schedule(app, asker, tenant, provider, resource, jobs).await {
            Ok((found, after)) => {
                left = Some(left.filter(|left| left.left <= after.left).unwrap_or(after));
                let found = found.into_iter().map(|answer| accepted(answer, after, bounds(app)));
                answers.extend(jobs.iter().copied().zip(found));
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let runs = |job: &JobId| matches!(answers.get(job), Some(Ok(_)));
    let accepted: Vec<_> = standing.into_iter().filter(|it| runs(&it.job)).collect();
    if accepted.is_empty() {
        let refusals = answers.into_values().filter_map(Result::err);
        return Err(failed.or_else(|| refusals.min_by_key(soonest)).unwrap_or(RefreshError::NoJobs));
    }
    let id = refreshes::add(&app.pool, tenant, app.clock.now(), &accepted).await?;
    let asked = |job: JobStatus| AskedJob {
        status: answers.remove(&job.job).unwrap_or(Err(RefreshError::NoAnswer)),
        device: job.device,
        resource: job.resource,
    };
    Ok(Asked { id, jobs: all.into_iter().map(asked).collect(), left: left.unwrap_or_default() })
}

/// Of several reasons, the one that is over first.
fn soonest(refusal: &RefreshError) -> Duration {
    match refusal {
        RefreshError::Limited { limited, .. } => limited.wait,
        _ => Duration::MAX,
    }
}

/// The job's provider, if the schedule must have the job; or why it must not.
fn schedulable<'a>(app: &'a App, job: &JobStatus) -> Result<&'a Provider, RefreshError> {
    let (device, resource) = (job.device, job.resource.clone());
    let gone = || RefreshError::NoProvider { device, provider: job.provider.to_string() };
    let provider = app.registry.get(job.provider.as_str()).ok_or_else(gone)?;
    if provider.resource(resource.as_str()).is_none() {
        return Err(RefreshError::NoJob { device, resource });
    }
    match job.state {
        JobState::Paused => Err(RefreshError::Paused { device, resource }),
        JobState::Active | JobState::Probing
            if matches!(job.connection_state, ConnectionState::Paused | ConnectionState::Closed) =>
        {
            Err(RefreshError::ConnectionPaused { label: job.label.clone() })
        }
        JobState::Active | JobState::Probing if !job.connection_state.is_active() => {
            Err(RefreshError::NeedsReauth {
                label: job.label.clone(),
                reason: job.refusal.clone().unwrap_or_else(|| "no reason is stored".to_owned()),
            })
        }
        JobState::Active | JobState::Probing => Ok(provider),
    }
}

fn accepted(
    answer: Refresh,
    left: RefreshesLeft,
    bounds: RefreshBounds,
) -> Result<RefreshStatus, RefreshError> {
    match answer {
        Refresh::Queued => Ok(RefreshStatus::Queued),
        Refresh::Waiting => Ok(RefreshStatus::Waiting),
        Refresh::Running => Ok(RefreshStatus::Running),
        Refresh::Limited(limited) => Err(RefreshError::Limited { limited, left, bounds }),
        Refresh::Unknown => Err(RefreshError::NotYet),
    }
}

/// Asks for jobs of one resource. Those that the schedule does not have yet are put there first.
async fn ask_schedule(
    app: &App,
    asker: Asker,
    tenant: TenantId,
    provider: &Provider,
    resource: &ResourceName,
    jobs: &[JobId],
) -> Result<(Vec<Refresh>, RefreshesLeft), RefreshError> {
    let limits = (asker == Asker::Tenant).then(|| RefreshLimits::of(bounds(app), tenant, provider, resource));
    let (mut answers, mut left) = ask_once(app, provider, jobs, limits.as_ref()).await?;
    let is_unknown = |answer: &Refresh| *answer == Refresh::Unknown;
    if answers.iter().any(is_unknown) {
        let (places, unknown): (Vec<_>, Vec<_>) = answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| is_unknown(answer))
            .map(|(n, _)| (n, jobs[n]))
            .unzip();
        keep::tell_soon(app, &provider.name, &unknown).await;
        let (again, after) = ask_once(app, provider, &unknown, limits.as_ref()).await?;
        places.into_iter().zip(again).for_each(|(place, answer)| answers[place] = answer);
        left = after;
    }
    Ok((answers, left))
}

async fn ask_once(
    app: &App,
    provider: &Provider,
    jobs: &[JobId],
    limits: Option<&RefreshLimits>,
) -> Result<(Vec<Refresh>, RefreshesLeft), RefreshError> {
    let asking = async {
        match limits {
            Some(limits) => app.queue.refresh_within(&provider.name, jobs, limits).await,
            None => Ok((app.queue.refresh(&provider.name, jobs).await?, RefreshesLeft::default())),
        }
    };
    Ok(timeout(TIMEOUT, asking).await.map_err(|_| RefreshError::NoAnswer)??)
}
