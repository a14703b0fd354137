//! Redis is derived: what it has lost is built again from Postgres.

use super::{KeepError, entry, quota_inputs};
use crate::app::App;
use crate::postgres;
use crate::preference::{jobs, schedules};
use crate::words::{JobId, ProviderName};

const PAGE: i64 = 2000;

/// Builds a provider's schedule if Redis has none, or restarted and may have forgotten its last moments.
/// Returns how many jobs were put; `None` if all was well.
pub async fn rebuild_if_lost(app: &App, provider: &ProviderName) -> Result<Option<u64>, KeepError> {
    if app.queue.is_live(provider).await? {
        return Ok(None);
    }
    // Nothing is granted on a server that starts until its schedule is built: the place to refuse one that may evict.
    app.redis.inspect().await?;
    let _held =
        postgres::lock(&app.pool, &format!("paceline rebuild {provider} {}", app.keys.anchor(provider)))
            .await?;
    // Somebody else may have been first.
    if app.queue.is_live(provider).await? {
        return Ok(None);
    }
    let known = schedules::is_known(&app.pool, provider).await?;
    let fence = schedules::last_fence(&app.pool, provider).await?;
    // Remembered before anything can be sent: from now on a loss is a loss.
    schedules::remember(&app.pool, provider, fence).await?;
    // Before anything is granted by what may be out of date.
    quota_inputs::tell_all(app, provider).await?;
    app.queue.revive(provider, known, fence, None).await?;
    let (mut after, mut put) = (JobId(0), 0);
    loop {
        let page = jobs::page(&app.pool, provider, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.job.id;
        let entries: Vec<_> = page.into_iter().filter_map(|job| entry(app, job)).collect();
        app.queue.put(provider, &entries).await?;
        put += entries.len() as u64;
    }
    app.queue.mark_built(provider).await?;
    if known {
        tracing::warn!(%provider, jobs = put, "schedule rebuilt from Postgres; its quotas count as spent");
    }
    Ok(Some(put))
}
