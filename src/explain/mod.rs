//! Why a job has not run yet: its status in Postgres, its location in the schedule, and the interval the plan gives it;
//! and what is held.

mod facts;
mod holds;
mod obstacle;
mod sentence;
mod turns;

pub use facts::{Audience, Facts};
pub use holds::{NamedHold, holds};
pub use sentence::{Cause, Explanation, sentence};
pub use turns::{Turn, Turns, turns};

pub use crate::forecast::{ForecastFailed, Plans};

use crate::app::App;
use crate::forecast::forecast;
use crate::postgres::PostgresError;
use crate::preference::job_status::{self, JobStatus};
use crate::provider::Provider;
use crate::redis::RedisError;
use crate::schedule::JobLocation;
use crate::words::{DeviceId, JobId, ResourceName, TenantId};
use std::collections::HashMap;
use std::sync::Arc;

/// Why a job cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

/// One job, explained.
#[derive(Debug, Clone)]
pub struct Explained {
    /// Its status in Postgres.
    pub status: JobStatus,
    /// Its location in the schedule.
    pub location: JobLocation,
    /// The interval it gets in the long run, if that is longer than it asks.
    pub plan: Option<String>,
    /// All of it as a sentence, without the full stop.
    pub sentence: String,
}

/// Explains a device's jobs, or the job of one resource. Plans all jobs of the provider, because [`forecast`] must.
pub async fn device(
    app: &App,
    tenant: TenantId,
    device: DeviceId,
    provider: &Arc<Provider>,
    resource: Option<&ResourceName>,
) -> Result<Vec<Explained>, ExplainError> {
    let mut statuses = job_status::of_devices(&app.pool, tenant, &[device]).await?;
    statuses.retain(|status| resource.is_none_or(|only| status.resource == *only));
    let is_planned =
        statuses.iter().any(|status| status.state.is_scheduled() && status.connection_state.is_active());
    let plans = if is_planned { plans(app, device, provider).await? } else { HashMap::new() };
    let ids: Vec<_> = statuses.iter().map(|status| status.job).collect();
    let is_built = app.queue.is_live(&provider.name).await?;
    let locations = app.queue.locate(&provider.name, &ids).await?;
    let incident = app.incidents.read(&provider.name).await?;
    let now = app.clock.now();
    let explained = statuses.into_iter().zip(locations).map(|(status, location)| {
        let plan = plans.get(&status.job).cloned();
        let facts = Facts {
            now,
            device,
            provider,
            is_built,
            status: &status,
            location: &location,
            incident: incident.as_ref(),
            plan: plan.as_deref(),
            audience: Audience::Operator,
        };
        let sentence = sentence(&facts).text;
        Explained { status, location, plan, sentence }
    });
    Ok(explained.collect())
}

/// The plan of those of the device's jobs that get less than they ask.
async fn plans(
    app: &App,
    device: DeviceId,
    provider: &Arc<Provider>,
) -> Result<HashMap<JobId, String>, PostgresError> {
    let forecast = forecast(app, provider).await?;
    let theirs = forecast.jobs().filter(|(demand, _)| demand.device == device);
    Ok(theirs.filter_map(|(demand, job)| Some((demand.job, forecast.why(demand, job)?))).collect())
}
