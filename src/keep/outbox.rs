//! From the outbox into the schedule.

use super::{KeepError, entry};
use crate::app::App;
use crate::cache::CARD;
use crate::preference::{jobs, outbox};
use crate::words::{JobId, ProviderName};
use futures::future::try_join_all;
use std::collections::{BTreeMap, HashSet};
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

/// [`drain`] for somebody who waits for an answer: what does not work at once is left for the keeper.
pub async fn drain_soon(app: &App) {
    match timeout(Duration::from_millis(500), drain(app)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the schedule hears of it later"),
        Err(_) => tracing::debug!("the schedule hears of it later: no answer in time"),
    }
}

async fn tell(app: &App, provider: &ProviderName, ids: &HashSet<i64>) -> Result<(), KeepError> {
    let ids: Vec<i64> = ids.iter().copied().collect();
    let stored = jobs::by_id(&app.pool, &ids).await?;
    let devices: HashSet<_> = stored.iter().map(|s| (s.job.tenant, s.job.device)).collect();
    let entries: Vec<_> = stored.into_iter().filter_map(|job| entry(app, job)).collect();
    let wanted: HashSet<JobId> = entries.iter().map(|e| e.job.id).collect();
    let unwanted: Vec<JobId> = ids.into_iter().map(JobId).filter(|id| !wanted.contains(id)).collect();
    app.queue.put(provider, &entries).await?;
    app.queue.drop(provider, &unwanted).await?;
    // The cache shows what was asked before, if it was asked while Redis was away.
    try_join_all(devices.into_iter().map(|(tenant, device)| app.cache.forget(tenant, device, CARD))).await?;
    Ok(())
}
