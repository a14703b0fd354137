//! From the outbox into the schedule.

use super::{KeepError, entry, quota_inputs};
use crate::app::App;
use crate::cache::META;
use crate::preference::{jobs, outbox};
use crate::words::{JobId, ProviderName};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::time::timeout;

const BATCH: i64 = 1000;

/// Tells the schedule of every job in the outbox, as it is now. Returns how many notes there were.
///
/// Safe at any time from any process: a note names a job, and an older version never overwrites a newer one.
pub async fn drain(app: &App) -> Result<usize, KeepError> {
    let mut drained = 0;
    loop {
        let notes = outbox::read(&app.pool, BATCH).await?;
        if notes.is_empty() {
            return Ok(drained);
        }
        let mut by_provider: BTreeMap<&str, HashSet<i64>> = BTreeMap::new();
        for note in &notes {
            by_provider.entry(&note.provider).or_default().insert(note.job);
        }
        for (provider, ids) in by_provider {
            // The column holds only what was a provider's name when it was written.
            let Ok(provider) = provider.parse::<ProviderName>() else { continue };
            tell(app, &provider, &ids).await?;
        }
        let ids: Vec<i64> = notes.iter().map(|note| note.id).collect();
        outbox::forget(&app.pool, &ids).await?;
        drained += notes.len();
    }
}

/// Tells the schedule of one job, for somebody who waits for an answer: not after a backlog, and not for long. What
/// does not work at once is left for the keeper.
pub async fn tell_soon(app: &App, provider: &ProviderName, job: JobId) {
    let telling = async {
        let notes = outbox::of_job(&app.pool, job).await?;
        tell(app, provider, &HashSet::from([job.0])).await?;
        outbox::forget(&app.pool, &notes).await?;
        Ok::<_, KeepError>(())
    };
    match timeout(Duration::from_millis(500), telling).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the schedule hears of it later"),
        Err(_) => tracing::debug!("the schedule hears of it later: no answer in time"),
    }
}

async fn tell(app: &App, provider: &ProviderName, ids: &HashSet<i64>) -> Result<(), KeepError> {
    let ids: Vec<i64> = ids.iter().copied().collect();
    let stored = jobs::by_id(&app.pool, &ids).await?;
    let connections: HashSet<_> = stored.iter().map(|s| s.job.connection).collect();
    quota_inputs::tell(app, provider, &connections).await?;
    let devices: HashSet<_> = stored.iter().map(|s| (s.job.tenant, s.job.device)).collect();
    let versions: HashMap<_, _> = stored.iter().map(|s| (s.job.id, s.job.version)).collect();
    let entries: Vec<_> = stored.into_iter().filter_map(|job| entry(app, job)).collect();
    let wanted: HashSet<JobId> = entries.iter().map(|e| e.job.id).collect();
    // One that Postgres no longer has is gone in whatever version.
    let version = |id: &i64| versions.get(&JobId(*id)).copied().unwrap_or(i64::from(u32::MAX));
    let unwanted: Vec<(JobId, i64)> =
        ids.iter().filter(|id| !wanted.contains(&JobId(**id))).map(|id| (JobId(*id), version(id))).collect();
    app.queue.put(provider, &entries).await?;
    app.queue.drop(provider, &unwanted).await?;
    // The cache shows what was asked before, if it was asked while Redis was away.
    Ok(app.cache.forget(devices, META).await?)
}
