//! When jobs have their next turns, what they get, and what they wait for: for many devices at once.

use super::facts::{Audience, Facts};
use super::sentence::{Cause, sentence};
use crate::app::App;
use crate::forecast::{ForecastFailed, Gets, Plans};
use crate::preference::job_status::{self, JobStatus};
use crate::provider::Provider;
use crate::redis::RedisError;
use crate::schedule::JobLocation;
use crate::words::{DeviceId, Incident, JobState, ProviderName, ResourceName, TenantId, UnixMs};
use futures::future::try_join_all;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A schedule that takes longer is left out.
const SCHEDULE_TIMEOUT: Duration = Duration::from_secs(2);

/// When a job has its next turn, and what it gets.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Turn {
    /// How often it is refreshed in the long run, under the quotas and beside all other jobs; null while a change of it
    /// is not planned yet (half a minute), it is not scheduled, or it cannot be served.
    #[schema(required = true, example = "47s")]
    pub effective_interval: Option<String>,
    /// The same, ms.
    #[schema(required = true, example = 46_552)]
    pub effective_interval_ms: Option<u64>,
    /// The quota that keeps it from the interval it asks for; null if it gets that.
    #[schema(required = true, example = "quota hour of connection 3 allows 500 in 1h")]
    pub limited_by: Option<String>,
    /// When it may be refreshed next: its due time, or when what it waits for lets it; null if nothing tells.
    #[schema(required = true, example = "2026-03-01T08:30:30.000Z")]
    pub next_at: Option<String>,
    /// How long its turn has been due, ms; 0 while it is not.
    #[schema(example = 0)]
    pub late_ms: i64,
    /// What it waits for; null while the schedule cannot be asked.
    #[schema(required = true)]
    pub waits_for: Option<Cause>,
    /// The same as a sentence without a full stop; null while the schedule cannot be asked.
    #[schema(required = true, example = "due in 12 s (every 30s, normal)")]
    pub why: Option<String>,
}

/// Turns by device and resource.
pub type Turns = HashMap<DeviceId, BTreeMap<ResourceName, Turn>>;

/// The turns of all jobs of these devices.
pub async fn turns(
    app: &App,
    plans: &Plans,
    tenant: TenantId,
    devices: &[DeviceId],
) -> Result<Turns, ForecastFailed> {
    let mut by_provider = HashMap::<ProviderName, Vec<JobStatus>>::new();
    for status in job_status::of_devices(&app.pool, tenant, devices).await? {
        by_provider.entry(status.provider.clone()).or_default().push(status);
    }
    let of_provider =
        async |(name, statuses): (ProviderName, Vec<JobStatus>)| match app.registry.get(name.as_str()) {
            Some(provider) => provider_turns(app, plans, provider, statuses).await,
            None => Ok(Vec::new()),
        };
    let mut turns = Turns::new();
    for found in try_join_all(by_provider.into_iter().map(of_provider)).await? {
        for (device, resource, turn) in found {
            turns.entry(device).or_default().insert(resource, turn);
        }
    }
    Ok(turns)
}

/// What the schedule says of jobs of one provider.
struct Scheduled {
    is_built: bool,
    locations: Vec<JobLocation>,
    incident: Option<Incident>,
}

async fn provider_turns(
    app: &App,
    plans: &Plans,
    provider: &Arc<Provider>,
    statuses: Vec<JobStatus>,
) -> Result<Vec<(DeviceId, ResourceName, Turn)>, ForecastFailed> {
    let plan = plans.of(app, provider).await?;
    let scheduled = match timeout(SCHEDULE_TIMEOUT, scheduled(app, provider, &statuses)).await {
        Ok(Ok(scheduled)) => Some(scheduled),
        Ok(Err(error)) => {
            tracing::debug!(%error, "turns without the schedule");
            None
        }
        Err(_) => {
            tracing::debug!("turns without the schedule: no answer in time");
            None
        }
    };
    let now = app.clock.now();
    let turn = |(n, status): (usize, JobStatus)| {
        let is_scheduled = status.state.is_scheduled();
        let gets = plan.gets(status.job, status.connection, status.interval).filter(|_| is_scheduled);
        let location = scheduled.as_ref().and_then(|all| Some((all, all.locations.get(n)?)));
        let turn = turn(now, provider, &status, location, gets);
        (status.device, status.resource, turn)
    };
    Ok(statuses.into_iter().enumerate().map(turn).collect())
}

async fn scheduled(app: &App, provider: &Provider, statuses: &[JobStatus]) -> Result<Scheduled, RedisError> {
    let ids: Vec<_> = statuses.iter().map(|status| status.job).collect();
    let (is_built, locations, incident) = tokio::try_join!(
        app.queue.is_live(&provider.name),
        app.queue.locate(&provider.name, &ids),
        app.incidents.read(&provider.name),
    )?;
    Ok(Scheduled { is_built, locations, incident })
}

fn turn(
    now: UnixMs,
    provider: &Provider,
    status: &JobStatus,
    scheduled: Option<(&Scheduled, &JobLocation)>,
    gets: Option<Gets>,
) -> Turn {
    let told = scheduled.map(|(all, location)| {
        sentence(&Facts {
            now,
            device: status.device,
            provider,
            is_built: all.is_built,
            status,
            location,
            incident: all.incident.as_ref(),
            plan: None,
            audience: Audience::User,
        })
    });
    let is_on = status.state != JobState::Paused;
    let location =
        scheduled.map(|(_, location)| location).filter(|location| is_on && (location.due || location.ready));
    Turn {
        effective_interval: gets.as_ref().and_then(|gets| gets.text.clone()),
        effective_interval_ms: gets.as_ref().and_then(|gets| gets.effective_ms).map(|ms| ms.round() as u64),
        limited_by: gets.and_then(|gets| gets.limited_by),
        next_at: location.and_then(|location| next_at(location, now)).map(|at| at.to_string()),
        late_ms: location.map_or(0, |location| now.since_ms(UnixMs(location.due_ms)).max(0)),
        waits_for: told.as_ref().map(|told| told.cause),
        why: told.map(|told| told.text),
    }
}

/// The due time, or the end of what blocks it if that is later; none if neither lies ahead.
fn next_at(location: &JobLocation, now: UnixMs) -> Option<UnixMs> {
    let blocked_until = Some(location.until_ms).filter(|until| until.is_finite()).map(|until| until as i64);
    let at = UnixMs(location.due_ms.max(blocked_until.unwrap_or(0)));
    (at > now).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_turn_is_the_due_time_or_the_end_of_what_blocks_it() {
        let now = UnixMs(1_000_000);
        let at = |due_ms, until_ms| {
            let location = JobLocation {
                known: true,
                due: true,
                ready: false,
                leased: false,
                due_ms,
                last_ms: 0,
                interval_ms: 30_000,
                class: 3,
                version: 1,
                lane: "3".to_owned(),
                lane_awake: true,
                until_ms,
                blocked_by: String::new(),
                urgent: false,
            };
            next_at(&location, now).map(|at| at.0)
        };
        assert_eq!(at(1_010_000, 0.0), Some(1_010_000));
        assert_eq!(at(1_010_000, 1_020_000.0), Some(1_020_000));
        assert_eq!(at(900_000, 1_020_000.0), Some(1_020_000));
        // Its time has come: nothing tells when it is its turn.
        assert_eq!(at(900_000, 0.0), None);
        assert_eq!(at(900_000, f64::INFINITY), None);
    }
}
