//! How far a refresh is, and waiting for its end.

use super::error::RefreshError;
use crate::app::App;
use crate::live::{Filter, Live};
use crate::preference::refreshes::{self, RefreshedJob, StoredRefresh};
use crate::schedule::JobLocation;
use crate::words::{
    ConnectionState, DeviceId, JobId, JobState, ProviderName, ResourceName, TenantId, UnixMs,
};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// A Redis that takes longer counts as unreachable. Jobs that have not ended are then reported as queued.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Jobs that end together are looked at together.
const LOOKS_APART: Duration = Duration::from_millis(100);
/// A wait reads the refresh at least this often: some ends are not published, such as that of a connection whose
/// credential is refused.
const LOOKS_EVERY: Duration = Duration::from_secs(3);

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
    /// The call failed; it is tried again.
    Failed,
    /// It does not run: it was paused, its connection's credential was refused, or it left the queue.
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
        match timeout(TIMEOUT, locate(app, &waiting)).await {
            Ok(Ok(located)) => locations = located,
            Ok(Err(error)) => tracing::debug!(%error, "where the jobs of a refresh are is not known"),
            Err(_) => tracing::debug!("where the jobs of a refresh are is not known: no answer in time"),
        }
        // Read again: what has left the schedule was recorded before.
        found = find().await?;
    }
    let StoredRefresh { asked_at, jobs } = found;
    let jobs: Vec<_> = jobs.into_iter().map(|job| job_progress(job, &locations)).collect();
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
    let mut reader = live.listen(tenant, None, filter).await.ok();
    loop {
        // Subscribes before it reads, so that it misses no end that is published in between.
        if let Err(error) = app.cache.note_awaited(tenant).await {
            tracing::debug!(%error, "ends of a refresh are not published");
        }
        let looked = Instant::now();
        let now = progress(app, tenant, id).await?;
        if now.ended || looked >= deadline {
            return Ok(now);
        }
        let until = deadline.min(looked + LOOKS_EVERY);
        match &mut reader {
            // A reader that fell behind has missed events: a reason to read the refresh, too.
            Some(reader) => drop(timeout_at(until, reader.next()).await),
            None => sleep_until(until).await,
        }
        sleep_until((looked + LOOKS_APART).min(deadline)).await;
        if let Some(reader) = &mut reader {
            // One read covers all events until now.
            reader.skip();
        }
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
    // After a 429 the call is made again, ahead of everything.
    let failed = job.error.as_ref().is_some_and(|error| !error.starts_with("throttled"));
    match (failed, job.answered) {
        (true, _) => Some(JobProgressState::Failed),
        (false, true) => Some(JobProgressState::Done),
        (false, false) if job.state == JobState::Paused => Some(JobProgressState::Cancelled),
        (false, false) => None,
    }
}

fn job_progress(job: RefreshedJob, locations: &HashMap<JobId, JobLocation>) -> JobProgress {
    let state = recorded(&job).unwrap_or_else(|| match locations.get(&job.job) {
        None => JobProgressState::Queued,
        Some(location) => scheduled(location, &job),
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
    match (job.state, job.connection_state) {
        (JobState::Paused, _) => "it is paused",
        (_, ConnectionState::Paused) => "its connection is paused",
        (_, ConnectionState::Closed) => "its connection is closed",
        (_, ConnectionState::NeedsReauth) => "the provider refuses its connection's credential",
        (_, ConnectionState::Active) => "it left the queue before it ran; its next run is the regular one",
    }
}

/// How far a job is of which nothing is recorded since it was asked for.
fn scheduled(location: &JobLocation, job: &RefreshedJob) -> JobProgressState {
    match location {
        JobLocation { leased: true, .. } => JobProgressState::Running,
        // One that is being put has a connection that works.
        JobLocation { known: false, .. } if job.connection_state.is_active() => JobProgressState::Queued,
        JobLocation { known: false, .. } => JobProgressState::Cancelled,
        // A limit of its device may let it wait among those that are due.
        JobLocation { urgent: true, .. } | JobLocation { due: false, .. } => JobProgressState::Queued,
        // A device that never was online leaves no row.
        _ if job.fetched_at.is_none() => JobProgressState::Done,
        // The schedule was lost and built again, or a call that it was to share was not sent.
        _ => JobProgressState::Cancelled,
    }
}
