//! How far a refresh is, and waiting for its end.

use super::error::RefreshError;
use crate::app::App;
use crate::live::{Filter, Live, LiveError, Reader};
use crate::preference::refreshes::{self, RefreshedJob, StoredRefresh};
use crate::schedule::JobLocation;
use crate::words::{DeviceId, JobId, JobState, ProviderName, ResourceName, TenantId, UnixMs};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// A Redis that takes longer counts as unreachable: what waits is then told without where it is.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Jobs that end together are looked at together.
const LOOKS_APART: Duration = Duration::from_millis(100);
/// A job that ran so shortly before it was asked for may be the one that was asked for, ms: the clocks of the processes
/// differ by less.
const CLOCKS_APART_MS: i64 = 1_000;

/// How far a refresh is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Its number.
    pub id: i64,
    /// When it was asked for.
    pub asked_at: UnixMs,
    /// Whether none of its jobs waits or runs any more.
    pub ended: bool,
    /// Its jobs, but for those that were removed since.
    pub jobs: Vec<JobProgress>,
}

/// How far one of its jobs is.
#[derive(Debug, Clone)]
pub struct JobProgress {
    /// Its device.
    pub device: DeviceId,
    /// Its resource.
    pub resource: ResourceName,
    /// How far.
    pub state: JobProgressState,
    /// When a good answer last came.
    pub fetched_at: Option<UnixMs>,
    /// Why it failed or does not run.
    pub error: Option<String>,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobProgressState {
    /// It waits for the quotas.
    Queued,
    /// It is being fetched.
    Running,
    /// The provider answered.
    Done,
    /// The call failed; it is tried again as scheduled.
    Failed,
    /// It does not run: it was paused, its connection's credential was refused, or the schedule was lost.
    Cancelled,
}

impl JobProgressState {
    /// Whether it is over.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// How far a tenant's refresh is.
pub async fn progress(app: &App, tenant: TenantId, id: i64) -> Result<Progress, RefreshError> {
    let find = async || refreshes::find(&app.pool, tenant, id).await?.ok_or(RefreshError::Unknown(id));
    let mut found = find().await?;
    let waiting: Vec<_> = found.jobs.iter().filter(|job| recorded(job).is_none()).collect();
    let mut locations = HashMap::new();
    if !waiting.is_empty() {
        locations = match timeout(TIMEOUT, locate(app, &waiting)).await {
            Ok(located) => located?,
            Err(_) => HashMap::new(),
        };
        // Read again: what has left the schedule was recorded before.
        found = find().await?;
    }
    let StoredRefresh { asked_at, jobs } = found;
    let jobs: Vec<_> = jobs.into_iter().map(|job| job_progress(job, asked_at, &locations)).collect();
    Ok(Progress { id, asked_at, ended: jobs.iter().all(|job| job.state.has_ended()), jobs })
}

/// Waits until a tenant's refresh has ended, at most until `deadline`, and tells how far it is then.
pub async fn wait(
    app: &App,
    live: &Live,
    tenant: TenantId,
    id: i64,
    deadline: Instant,
) -> Result<Progress, RefreshError> {
    let first = progress(app, tenant, id).await?;
    if first.ended || Instant::now() >= deadline {
        return Ok(first);
    }
    let ids = first.jobs.iter().map(|job| job.device).collect();
    let filter = Filter { ids: Some(ids), ends: true, ..Filter::default() };
    // Listens before it looks, so that no end falls between the two.
    app.cache.note_awaited(tenant, deadline.saturating_duration_since(Instant::now())).await?;
    let mut reader = live.listen(tenant, None, filter).await.map_err(not_heard)?;
    loop {
        let looked = Instant::now();
        let now = progress(app, tenant, id).await?;
        if now.ended || looked >= deadline {
            return Ok(now);
        }
        hear(&mut reader, deadline).await;
        sleep_until((looked + LOOKS_APART).min(deadline)).await;
    }
}

/// Waits for an event, or until the deadline.
async fn hear(reader: &mut Reader, deadline: Instant) {
    match timeout_at(deadline, reader.next()).await {
        Ok(Ok(_)) | Err(_) => {}
        // It came too late for some: only the deadline tells what is.
        Ok(Err(_)) => sleep_until(deadline).await,
    }
}

fn not_heard(error: LiveError) -> RefreshError {
    match error {
        LiveError::Redis(error) => error.into(),
        LiveError::Read(_) | LiveError::Silent | LiveError::Stopping => RefreshError::NoAnswer,
    }
}

/// Where the schedule has these jobs.
async fn locate(app: &App, jobs: &[&RefreshedJob]) -> Result<HashMap<JobId, JobLocation>, RefreshError> {
    let mut by_provider = BTreeMap::<&ProviderName, Vec<JobId>>::new();
    for job in jobs {
        by_provider.entry(&job.provider).or_default().push(job.job);
    }
    let mut located = HashMap::new();
    for (provider, ids) in by_provider {
        let locations = app.queue.locate(provider, &ids).await?;
        located.extend(ids.into_iter().zip(locations));
    }
    Ok(located)
}

/// How a job has ended, if Postgres knows.
fn recorded(job: &RefreshedJob) -> Option<JobProgressState> {
    // A call that the provider refused for now is made again, ahead of everything.
    let failed = job.error.as_ref().is_some_and(|error| !error.starts_with("throttled"));
    match (failed, job.answered) {
        (true, _) => Some(JobProgressState::Failed),
        (false, true) => Some(JobProgressState::Done),
        (false, false) if job.state == JobState::Paused => Some(JobProgressState::Cancelled),
        (false, false) => None,
    }
}

fn job_progress(job: RefreshedJob, asked_at: UnixMs, locations: &HashMap<JobId, JobLocation>) -> JobProgress {
    let state = recorded(&job).unwrap_or_else(|| match locations.get(&job.job) {
        None => JobProgressState::Queued,
        Some(location) => scheduled(location, job.usable, asked_at),
    });
    let error = match state {
        JobProgressState::Failed | JobProgressState::Queued | JobProgressState::Running => job.error,
        JobProgressState::Cancelled => Some(not_run(&job).to_owned()),
        JobProgressState::Done => None,
    };
    JobProgress { device: job.device, resource: job.resource, state, fetched_at: job.fetched_at, error }
}

/// Why a job does not run.
fn not_run(job: &RefreshedJob) -> &'static str {
    match (job.state, job.usable) {
        (JobState::Paused, _) => "it is paused",
        (_, false) => "the provider refuses its connection's credential",
        (_, true) => "the schedule was lost; it runs at its next regular turn",
    }
}

/// How far a job is of which nothing is recorded since it was asked for.
fn scheduled(location: &JobLocation, usable: bool, asked_at: UnixMs) -> JobProgressState {
    if location.leased {
        return JobProgressState::Running;
    }
    if !location.known {
        // One that is being put has a connection that works.
        return if usable { JobProgressState::Queued } else { JobProgressState::Cancelled };
    }
    // A refresh waits in rank. One that is due at its time has run without anything to record, as of a device that was
    // never online; or the schedule was lost.
    match (location.due, location.last_ms + CLOCKS_APART_MS >= asked_at.0) {
        (false, _) => JobProgressState::Queued,
        (true, true) => JobProgressState::Done,
        (true, false) => JobProgressState::Cancelled,
    }
}
