//! `paceline check`: every scheduled job is in exactly one of due, ready, leased, and nobody else is.

use super::{KeepError, entry, gone, quota_inputs};
use crate::app::App;
use crate::preference::{jobs, outbox};
use crate::schedule::{Entry, JobLocation};
use crate::words::{JobId, ProviderName};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::time::sleep;

const PAGE: i64 = 1000;

/// What a check found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CheckReport {
    /// Whether nothing is wrong (any more).
    pub clean: bool,
    /// Jobs looked at.
    pub jobs: u64,
    /// Of these, those the schedule must have.
    pub scheduled: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// How many of the problems were repaired.
    pub repaired: u64,
}

/// One thing wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where.
    pub provider: String,
    /// With which job; none when it is the whole schedule.
    pub job: Option<i64>,
    /// What, for a person.
    pub what: String,
}

/// Compares Postgres with Redis, and with `repair` makes Redis follow.
pub async fn check(app: &App, repair: bool) -> Result<CheckReport, KeepError> {
    let mut report = CheckReport::default();
    for provider in app.registry.iter() {
        check_provider(app, &provider.name, repair, &mut report).await?;
        if repair {
            gone::forget(app, provider).await?;
        }
    }
    report.clean = report.problems.len() as u64 == report.repaired;
    Ok(report)
}

async fn check_provider(
    app: &App,
    provider: &ProviderName,
    repair: bool,
    report: &mut CheckReport,
) -> Result<(), KeepError> {
    let last = jobs::last_id(&app.pool, provider).await?;
    let before = report.scheduled;
    let mut suspects = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut after = JobId(0);
    loop {
        let page = jobs::page(&app.pool, provider, after, PAGE).await?;
        let Some(end) = page.last() else { break };
        after = end.job.id;
        let ids: Vec<JobId> = page.iter().map(|stored| stored.job.id).collect();
        seen.extend(ids.iter().copied());
        report.jobs += ids.len() as u64;
        report.scheduled += page.iter().filter(|stored| stored.is_scheduled()).count() as u64;
        suspects.extend(compare(app, provider, &ids).await?);
    }
    let known = app.queue.ids(provider, last).await?;
    let strangers: Vec<JobId> = known.into_iter().filter(|id| !seen.contains(id)).collect();
    suspects.extend(strangers.into_iter().map(|id| (id, Fault::stranger())));
    // A job on its way between the two while we looked is no fault: whatever is one stays one.
    if !suspects.is_empty() {
        sleep(Duration::from_millis(300)).await;
        let ids: Vec<JobId> = suspects.keys().copied().collect();
        suspects = compare(app, provider, &ids).await?;
    }
    if report.scheduled > before && !app.queue.is_live(provider).await? {
        let what = "its schedule is not built on this run of Redis; a keeper does that (paceline serve --roles keep)";
        report.problems.push(Problem { provider: provider.to_string(), job: None, what: what.to_owned() });
    }
    let wrong = quota_inputs::compare(app, provider).await?;
    if repair {
        report.repaired += quota_inputs::mend(app, provider, &wrong).await?;
        report.repaired += mend(app, provider, &suspects).await?;
    }
    report.problems.extend(wrong.into_iter().map(|(_, what)| Problem {
        provider: provider.to_string(),
        job: None,
        what,
    }));
    report.problems.extend(suspects.into_iter().map(|(id, fault)| Problem {
        provider: provider.to_string(),
        job: Some(id.0),
        what: fault.what,
    }));
    Ok(())
}

/// What is wrong with a job, and what it should be.
struct Fault {
    what: String,
    wanted: Option<Entry>,
}

impl Fault {
    fn stranger() -> Self {
        Self { what: "is scheduled, but Postgres does not know it".to_owned(), wanted: None }
    }
}

/// Those of these jobs that are not as they should be, save those with a note in the outbox.
async fn compare(
    app: &App,
    provider: &ProviderName,
    ids: &[JobId],
) -> Result<BTreeMap<JobId, Fault>, KeepError> {
    let locations = app.queue.locate(provider, ids).await?;
    let raw: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let stored = jobs::by_id(&app.pool, &raw).await?;
    let pending: HashSet<i64> = outbox::pending(&app.pool, &raw).await?.into_iter().collect();
    let known: HashSet<JobId> = stored.iter().map(|s| s.job.id).collect();
    let mut wanted: BTreeMap<JobId, Entry> =
        stored.into_iter().filter_map(|job| entry(app, job)).map(|e| (e.job.id, e)).collect();
    let mut faults = BTreeMap::new();
    for (id, location) in ids.iter().zip(&locations).filter(|(id, _)| !pending.contains(&id.0)) {
        let wanted = wanted.remove(id);
        let what = match &wanted {
            Some(entry) => misplaced(entry, location),
            None if !location.known => None,
            None if known.contains(id) => Some("is scheduled, but should not be".to_owned()),
            None => Some(Fault::stranger().what),
        };
        if let Some(what) = what {
            faults.insert(*id, Fault { what, wanted });
        }
    }
    Ok(faults)
}

fn misplaced(entry: &Entry, location: &JobLocation) -> Option<String> {
    if !location.known {
        return Some("is missing from the schedule".to_owned());
    }
    if !location.is_sound() {
        let locations = [(location.due, "due"), (location.ready, "ready"), (location.leased, "leased")];
        let names: Vec<_> = locations.iter().filter(|(here, _)| *here).map(|(_, name)| *name).collect();
        return Some(match names.as_slice() {
            [] => "is neither due, ready nor leased".to_owned(),
            ["ready"] => "is ready in a lane that nobody looks at".to_owned(),
            several => format!("is in several locations at once: {}", several.join(", ")),
        });
    }
    (location.version < entry.job.version).then(|| "the schedule has an older preference".to_owned())
}

/// Takes each job out of wherever it is, and puts it where it belongs.
async fn mend(app: &App, provider: &ProviderName, faults: &BTreeMap<JobId, Fault>) -> Result<u64, KeepError> {
    let ids: Vec<JobId> = faults.keys().copied().collect();
    app.queue.purge(provider, &ids).await?;
    let entries: Vec<Entry> = faults.values().filter_map(|fault| fault.wanted.clone()).collect();
    app.queue.put(provider, &entries).await?;
    Ok(ids.len() as u64)
}
