//! Plans of providers, kept for a while: to make one, all jobs of the provider are read.

use super::{Forecast, about, forecast, limited_by};
use crate::app::App;
use crate::pace::{Beside, Effective, Load, QuotaInputsByConnection};
use crate::postgres::PostgresError;
use crate::provider::Provider;
use crate::words::{ConnectionId, Interval, JobId, ProviderName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A plan is made anew when it is asked for and older than this; for as long again, the former is told meanwhile.
const KEPT: Duration = Duration::from_secs(30);
/// It costs at most this share of one core: a plan that took longer to make is kept longer.
const COST_SHARE: u32 = 20;

/// The plans that a process has made.
#[derive(Default)]
pub struct Plans {
    by_provider: Mutex<HashMap<ProviderName, Arc<Entry>>>,
    /// Held by whoever tries out many plans: they take a core for a while.
    trying: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Entry {
    /// The newest.
    made: Mutex<Option<Made>>,
    /// Held by whoever makes the next.
    making: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Made {
    plan: Arc<JobPlans>,
    at: Instant,
    kept: Duration,
}

/// What every job of a provider gets, as small as it can be kept.
pub struct JobPlans {
    provider: Arc<Provider>,
    jobs: HashMap<JobId, Compact>,
    loads: Vec<Load>,
    pub(super) quota_inputs: QuotaInputsByConnection,
    /// All connections, where they share a quota.
    pub(super) all: Beside,
}

/// [`Effective`] in 12 bytes: a process may keep it of a million jobs.
struct Compact {
    asked_ms: f32,
    /// Not a number: nothing at all.
    effective_ms: f32,
    /// [`NO_LOAD`]: none.
    bound_by: u32,
}

const NO_LOAD: u32 = u32::MAX;

/// What one job gets in the long run.
#[derive(Debug, Clone, PartialEq)]
pub struct Gets {
    /// The interval, ms; none if it cannot be served at all.
    pub effective_ms: Option<f64>,
    /// The same for a person, rounded: `47s`.
    pub text: Option<String>,
    /// What keeps it from the interval it asked for; none if it gets that.
    pub limited_by: Option<String>,
}

impl Plans {
    /// Waits until nobody else tries out many plans. Goes into the task that does it.
    pub async fn try_out(&self) -> tokio::sync::OwnedMutexGuard<()> {
        self.trying.clone().lock_owned().await
    }

    /// The plan of a provider, at most a minute old, or as old as making it takes forty times.
    ///
    /// Once begun, a plan is made to its end even if whoever asked goes away, so that a large one is not begun again
    /// and again.
    pub async fn of(&self, app: &App, provider: &Arc<Provider>) -> Result<Arc<JobPlans>, ForecastFailed> {
        let entry = {
            let mut entries = self.by_provider.lock().unwrap_or_else(PoisonError::into_inner);
            entries.entry(provider.name.clone()).or_default().clone()
        };
        let former = entry.made().filter(|made| made.at.elapsed() < 2 * made.kept);
        if let Some(made) = former.as_ref().filter(|made| made.is_current()) {
            return Ok(made.plan.clone());
        }
        let (app, provider) = (app.clone(), provider.clone());
        let detached = app.detached.clone();
        let made = detached.spawn(async move { entry.make(&app, &provider).await });
        match former {
            Some(former) => Ok(former.plan),
            None => Ok(made.await??),
        }
    }
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum ForecastFailed {
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The task that made it panicked.
    #[error("the task that planned the jobs failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// It took too long.
    #[error("the plan was not computed in time")]
    TooSlow,
}

impl Entry {
    fn made(&self) -> Option<Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn make(&self, app: &App, provider: &Arc<Provider>) -> Result<Arc<JobPlans>, PostgresError> {
        let _making = self.making.lock().await;
        // Another may have made it while this one waited.
        if let Some(made) = self.made().filter(Made::is_current) {
            return Ok(made.plan);
        }
        let began = Instant::now();
        let forecast = forecast(app, provider).await?;
        let rank = app.taker_settings();
        let all = Beside::of(provider, &forecast.demands, &forecast.quota_inputs, rank.k, &rank.base);
        let plan = Arc::new(JobPlans::new(forecast, all));
        let (at, kept) = (Instant::now(), KEPT.max(began.elapsed() * COST_SHARE));
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Made { plan: plan.clone(), at, kept });
        Ok(plan)
    }
}

impl Made {
    fn is_current(&self) -> bool {
        self.at.elapsed() < self.kept
    }
}

impl From<&Effective> for Compact {
    fn from(job: &Effective) -> Self {
        Self {
            asked_ms: job.asked_ms as f32,
            // What gets as much as it asked must not get a little less by rounding.
            effective_ms: match job.effective_ms {
                Some(_) if job.is_as_asked() => job.asked_ms as f32,
                Some(ms) => ms as f32,
                None => f32::NAN,
            },
            bound_by: job.bound_by.and_then(|load| load.try_into().ok()).unwrap_or(NO_LOAD),
        }
    }
}

impl JobPlans {
    fn new(forecast: Forecast, all: Beside) -> Self {
        let jobs = forecast.plan.jobs.iter().map(|job| (job.job, Compact::from(job))).collect();
        let Forecast { provider, quota_inputs, plan, .. } = forecast;
        Self { provider, jobs, loads: plan.loads, quota_inputs, all }
    }

    /// What a job gets; none if it asks for something else since the plan was made.
    pub fn gets(&self, job: JobId, connection: ConnectionId, asked: Interval) -> Option<Gets> {
        let found = self.jobs.get(&job)?;
        if found.asked_ms != asked.as_ms() as f32 {
            return None;
        }
        let is_as_asked = found.effective_ms == found.asked_ms;
        let effective_ms = Some(f64::from(found.effective_ms)).filter(|ms| !ms.is_nan());
        let effective_ms = if is_as_asked { Some(asked.as_ms() as f64) } else { effective_ms };
        let load = self.loads.get(found.bound_by as usize).filter(|_| !is_as_asked);
        let inputs = self.quota_inputs.get(&connection);
        let limited_by = load.and_then(|load| limited_by(&self.provider, load, inputs));
        Some(Gets { effective_ms, text: effective_ms.map(about), limited_by })
    }
}
