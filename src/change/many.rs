//! Many jobs at once.

use super::{Change, ChangeError, FORECAST_TIMEOUT};
use crate::app::App;
use crate::forecast::{Forecast, ForecastFailed, Plans, forecast_beside};
use crate::keep;
use crate::preference::jobs::{self, JobFilter, JobPatch, Matched};
use crate::words::{ConnectionId, DeviceId, JobId, ProviderName, ResourceName, TenantId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio::time::timeout;

/// What came, or would come, of a change to many jobs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ManyChanged {
    /// How many jobs the filter names.
    pub matched: usize,
    /// How many of them are otherwise than before.
    pub changed: usize,
    /// How many of the matched get what they ask; none if that could not be computed in time.
    pub as_asked: Option<usize>,
    /// Those that get less, by what limits them; most jobs first.
    pub slower: Vec<Slower>,
}

/// Jobs that get less than they ask because of one quota.
#[derive(Debug, Clone, PartialEq)]
pub struct Slower {
    /// The quota.
    pub limited_by: String,
    /// How many.
    pub jobs: usize,
    /// The longest interval that one of them gets, for a person; none if it is never refreshed.
    pub slowest: Option<String>,
    /// That job's device.
    pub device: DeviceId,
    /// That job's resource.
    pub resource: ResourceName,
}

/// Changes all jobs that a filter names, or none. With `dry_run` nothing is changed: the answer says what would be.
pub async fn set_jobs(
    app: &App,
    plans: &Plans,
    tenant: TenantId,
    filter: &JobFilter,
    change: &Change,
    dry_run: bool,
) -> Result<ManyChanged, ChangeError> {
    let patch = change.patch_of_many()?;
    let check = |matched: &[Matched]| long_enough(app, &patch, matched);
    let (matched, changed) = if dry_run {
        let matched = jobs::matching(&app.pool, tenant, filter).await?;
        check(&matched)?;
        (matched, None)
    } else {
        let jobs::Changed { matched, jobs } =
            jobs::change_all(&app.pool, tenant, filter, &patch, app.clock.now(), check).await?;
        let jobs: HashSet<_> = jobs.into_iter().collect();
        take_effect(app, &matched, &jobs).await;
        (matched, Some(jobs))
    };
    let mut answer = ManyChanged { matched: matched.len(), ..ManyChanged::default() };
    let found = timeout(FORECAST_TIMEOUT, what_they_get(app, plans, &patch, &matched, dry_run));
    match found.await {
        // The change is stored: an error would make the client repeat it.
        Ok(Err(error)) if !dry_run => {
            tracing::warn!(%error, "what the changed jobs get could not be computed");
            answer.changed = changed.map_or(0, |jobs| jobs.len());
        }
        Ok(found) => {
            let Found { would_change, as_asked, slower } = found?;
            answer.changed = changed.map_or(would_change, |jobs| jobs.len());
            answer.as_asked = Some(as_asked);
            answer.slower = slower;
        }
        Err(_) if dry_run => return Err(ForecastFailed::TooSlow.into()),
        Err(_) => answer.changed = changed.map_or(0, |jobs| jobs.len()),
    }
    Ok(answer)
}

/// Refuses an interval that is shorter than the provider of one of the jobs allows.
fn long_enough(app: &App, patch: &JobPatch, matched: &[Matched]) -> Result<(), ChangeError> {
    let Some(asked) = patch.least_interval() else { return Ok(()) };
    let mut counts = HashMap::<(&ProviderName, &ResourceName), usize>::new();
    for one in matched {
        *counts.entry((&one.provider, &one.resource)).or_default() += 1;
    }
    let minimum = |(provider, resource): (&ProviderName, &ResourceName)| {
        Some(app.registry.get(provider.as_str())?.resource(resource.as_str())?.interval_min)
    };
    let short = counts.into_iter().filter_map(|(of, jobs)| Some((minimum(of)?, of, jobs)));
    let short: Vec<_> = short.filter(|(minimum, ..)| asked < *minimum).collect();
    let jobs = short.iter().map(|(.., jobs)| jobs).sum();
    match short.into_iter().max_by_key(|(minimum, (_, resource), _)| (*minimum, Reverse(*resource))) {
        None => Ok(()),
        Some((minimum, (provider, resource), _)) => Err(ChangeError::TooShort {
            asked,
            jobs,
            resource: resource.clone(),
            provider: provider.to_string(),
            minimum,
        }),
    }
}

/// Puts the changed jobs into the schedule and forgets their cached devices. If it fails, the keeper does it.
async fn take_effect(app: &App, matched: &[Matched], changed: &HashSet<JobId>) {
    let mut by_provider = BTreeMap::<&ProviderName, Vec<JobId>>::new();
    for one in matched.iter().filter(|one| changed.contains(&one.job)) {
        by_provider.entry(&one.provider).or_default().push(one.job);
    }
    for (provider, jobs) in by_provider {
        keep::tell_soon(app, provider, &jobs).await;
    }
}

/// What the matched jobs get.
struct Found {
    would_change: usize,
    as_asked: usize,
    slower: Vec<Slower>,
}

async fn what_they_get(
    app: &App,
    plans: &Plans,
    patch: &JobPatch,
    matched: &[Matched],
    dry_run: bool,
) -> Result<Found, ChangeError> {
    let mut by_provider = BTreeMap::<&ProviderName, (HashSet<ConnectionId>, HashSet<JobId>)>::new();
    for one in matched {
        let (connections, jobs) = by_provider.entry(&one.provider).or_default();
        connections.insert(one.connection);
        jobs.insert(one.job);
    }
    let mut found = Found { would_change: 0, as_asked: 0, slower: Vec::new() };
    let now = app.clock.now();
    for (name, (connections, asked)) in by_provider {
        let ids: Vec<_> = connections.iter().copied().collect();
        let mut jobs = jobs::of_connections(&app.pool, &ids).await?;
        for stored in jobs.iter_mut().filter(|stored| dry_run && asked.contains(&stored.job.id)) {
            let before = stored.asked();
            patch.apply(stored, now);
            found.would_change += usize::from(stored.asked() != before);
        }
        let Some(provider) = app.registry.get(name.as_str()) else { continue };
        let forecast = forecast_beside(app, plans, provider, &connections, jobs).await?;
        let theirs = |job: JobId| asked.contains(&job);
        found.as_asked +=
            forecast.jobs().filter(|(demand, job)| theirs(demand.job) && job.is_as_asked()).count();
        found.slower.extend(slower(&forecast, theirs));
    }
    found.slower.sort_by_key(|one| Reverse(one.jobs));
    Ok(found)
}

/// Those of some jobs that get less than they ask, by what limits them; most jobs first.
pub(super) fn slower(forecast: &Forecast, is_asked: impl Fn(JobId) -> bool) -> Vec<Slower> {
    let mut by_limit = BTreeMap::<String, (f64, Slower)>::new();
    for (demand, effective) in forecast.jobs() {
        if effective.is_as_asked() || !is_asked(demand.job) {
            continue;
        }
        let gets = forecast.gets(demand, effective);
        let undeclared = || format!("{} no longer has {}", forecast.provider.name, demand.resource);
        let limited_by = gets.limited_by.unwrap_or_else(undeclared);
        let ms = effective.effective_ms.unwrap_or(f64::INFINITY);
        let one = Slower {
            limited_by: limited_by.clone(),
            jobs: 0,
            slowest: gets.text,
            device: demand.device,
            resource: demand.resource.clone(),
        };
        let (slowest_ms, kept) = by_limit.entry(limited_by).or_insert_with(|| (ms, one.clone()));
        let jobs = kept.jobs + 1;
        if ms > *slowest_ms {
            (*slowest_ms, *kept) = (ms, one);
        }
        kept.jobs = jobs;
    }
    let mut slower: Vec<_> = by_limit.into_values().map(|(_, one)| one).collect();
    slower.sort_by_key(|one| Reverse(one.jobs));
    slower
}
