//! From the outbox into the schedule.

use super::{KeepError, entry, quota_inputs};
use crate::app::App;
use crate::preference::jobs;
use crate::preference::outbox::{self, RemovedDevice};
use crate::words::{JobId, ProviderName};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::time::timeout;

const BATCH: i64 = 1000;

/// Puts every job that the outbox names into the schedule, as it is now. Returns how many rows there were.
///
/// Safe at any time from any process: a row only names a job, and an older version never overwrites a newer one.
pub async fn drain(app: &App) -> Result<usize, KeepError> {
    let mut drained = 0;
    loop {
        let notes = outbox::read(&app.pool, BATCH).await?;
        if notes.is_empty() {
            return Ok(drained);
        }
        if notes.len() as i64 == BATCH {
            super::analyze_grown(app).await;
        }
        let mut by_provider: BTreeMap<&str, (HashSet<i64>, HashSet<RemovedDevice>)> = BTreeMap::new();
        for note in &notes {
            let (jobs, removed) = by_provider.entry(&note.provider).or_default();
            jobs.insert(note.job);
            removed.extend(note.removed);
        }
        for (provider, (ids, removed)) in by_provider {
            // The column holds only what was a provider's name when it was written.
            let Ok(provider) = provider.parse::<ProviderName>() else { continue };
            tell(app, &provider, &ids, &removed).await?;
        }
        let ids: Vec<i64> = notes.iter().map(|note| note.id).collect();
        outbox::forget(&app.pool, &ids).await?;
        drained += notes.len();
    }
}

/// Drains the outbox for a caller that waits, but not for long. If it fails, the keeper does it.
pub async fn drain_soon(app: &App) {
    match timeout(Duration::from_millis(500), drain(app)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "outbox not drained; the keeper does it"),
        Err(_) => tracing::debug!("outbox not drained in time; the keeper does it"),
    }
}

/// Puts jobs into the schedule, for a caller that waits: not after a backlog, and not for long. If it fails, or if
/// they are many, the keeper does it.
pub async fn tell_soon(app: &App, provider: &ProviderName, jobs: &[JobId]) {
    if jobs.len() as i64 > BATCH {
        return;
    }
    let putting = async {
        let ids: Vec<i64> = jobs.iter().map(|job| job.0).collect();
        let notes = outbox::of_jobs(&app.pool, &ids).await?;
        tell(app, provider, &ids.into_iter().collect(), &HashSet::new()).await?;
        outbox::forget(&app.pool, &notes).await?;
        Ok::<_, KeepError>(())
    };
    match timeout(Duration::from_millis(500), putting).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "jobs not put; the keeper does it"),
        Err(_) => tracing::debug!("jobs not put in time; the keeper does it"),
    }
}

async fn tell(
    app: &App,
    provider: &ProviderName,
    ids: &HashSet<i64>,
    removed: &HashSet<RemovedDevice>,
) -> Result<(), KeepError> {
    let ids: Vec<i64> = ids.iter().copied().collect();
    let stored = jobs::by_id(&app.pool, &ids).await?;
    let shrunk = removed.iter().map(|device| device.connection);
    let connections: HashSet<_> = stored.iter().map(|s| s.job.connection).chain(shrunk).collect();
    quota_inputs::tell(app, provider, &connections).await?;
    let devices: HashSet<_> = stored.iter().map(|s| (s.job.tenant, s.job.device)).collect();
    let versions: HashMap<_, _> = stored.iter().map(|s| (s.job.id, s.job.version)).collect();
    let entries: Vec<_> = stored.into_iter().filter_map(|job| entry(app, job)).collect();
    let wanted: HashSet<JobId> = entries.iter().map(|e| e.job.id).collect();
    // A job that Postgres no longer has is dropped whatever its version.
    let version = |id: &i64| versions.get(&JobId(*id)).copied().unwrap_or(i64::from(u32::MAX));
    let unwanted: Vec<(JobId, i64)> =
        ids.iter().filter(|id| !wanted.contains(&JobId(**id))).map(|id| (JobId(*id), version(id))).collect();
    app.queue.put(provider, &entries).await?;
    app.queue.drop(provider, &unwanted).await?;
    app.cache.delete(removed.iter().map(|one| (one.tenant, one.device))).await?;
    // The cache shows the older preference if this one was set while Redis could not be reached.
    Ok(app.cache.forget(devices).await?)
}
