//! Builds a schedule that Redis has lost again from Postgres.

use super::{KeepError, entry, failing, quota_inputs};
use crate::app::App;
use crate::postgres;
use crate::preference::jobs::StoredJob;
use crate::preference::{jobs, schedules};
use crate::schedule::Entry;
use crate::words::{JobId, ProviderName};
use futures::future::try_join;

const PAGE: i64 = 2000;

/// What became of a schedule that may have been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuild {
    /// It was not lost.
    NotNeeded,
    /// It was built from Postgres, with so many jobs.
    Done(u64),
    /// Another caller or process is building it.
    UnderWay,
}

/// Builds a provider's schedule if Redis has none, or restarted and may have forgotten its last moments.
pub async fn rebuild_if_lost(app: &App, provider: &ProviderName) -> Result<Rebuild, KeepError> {
    if app.queue.is_live(provider).await? {
        return Ok(Rebuild::NotNeeded);
    }
    // Nothing is granted on a server that starts until its schedule is built: the place to refuse one that may evict.
    app.redis.inspect().await?;
    let name = format!("paceline rebuild {provider} {}", app.keys.anchor(provider));
    let Some(held) = postgres::try_lock(&app.pool, &name).await? else { return Ok(Rebuild::UnderWay) };
    let done = rebuild(app, provider).await;
    held.release().await;
    done
}

async fn rebuild(app: &App, provider: &ProviderName) -> Result<Rebuild, KeepError> {
    // Another may have finished just before.
    if app.queue.is_live(provider).await? {
        return Ok(Rebuild::NotNeeded);
    }
    let known = schedules::is_known(&app.pool, provider).await?;
    let fence = schedules::last_fence(&app.pool, provider).await?;
    // Remembered before anything can be sent: from now on a loss is a loss.
    schedules::remember(&app.pool, provider, fence).await?;
    // A restored database has no statistics.
    super::analyze_grown(app).await;
    // Before anything is granted by quota inputs that may be out of date.
    quota_inputs::tell_all(app, provider).await?;
    app.queue.revive(provider, known, fence, None).await?;
    let (mut page, mut put) = (Page::read(app, provider, JobId(0)).await?, 0);
    while let Some(last) = page.last {
        // Postgres reads the next jobs while Redis stores these.
        let storing = async { app.queue.put(provider, &page.entries).await.map_err(KeepError::from) };
        let (_, next) = try_join(storing, Page::read(app, provider, last)).await?;
        put += page.entries.len() as u64;
        page = next;
    }
    app.queue.mark_built(provider).await?;
    if known {
        tracing::warn!(%provider, jobs = put, "schedule rebuilt from Postgres; its quotas count as spent");
    }
    Ok(Rebuild::Done(put))
}

/// Some jobs of a provider.
struct Page {
    /// None after the last page.
    last: Option<JobId>,
    entries: Vec<Entry>,
}

impl Page {
    async fn read(app: &App, provider: &ProviderName, after: JobId) -> Result<Self, KeepError> {
        let page = jobs::page(&app.pool, provider, after, PAGE).await?;
        let failures = failing::of(app, &page).await?;
        let last = page.last().map(|stored| stored.job.id);
        let entry = |stored: StoredJob| {
            let failures = failures.get(&stored.job.id).copied();
            Some(Entry { failures, ..entry(app, stored)? })
        };
        Ok(Self { last, entries: page.into_iter().filter_map(entry).collect() })
    }
}
