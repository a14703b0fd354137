//! What the jobs of a few connections would get, before they are changed or right after.

use super::{Forecast, ForecastFailed, JobPlans, Plans, demand};
use crate::app::App;
use crate::pace::{Beside, Demand, QuotaInputsByConnection, plan_beside, shares_quotas};
use crate::preference::jobs::StoredJob;
use crate::preference::quota_inputs;
use crate::provider::Provider;
use crate::words::ConnectionId;
use std::collections::HashSet;
use std::sync::Arc;

/// What decides, beside the jobs of some connections, what these get.
pub struct Surroundings {
    provider: Arc<Provider>,
    quota_inputs: QuotaInputsByConnection,
    /// All connections, as they were when the provider was planned last, if they share quotas.
    all: Option<Arc<JobPlans>>,
    k: f64,
    base: [f64; 5],
}

impl Surroundings {
    /// Those of some connections of a provider.
    pub async fn of(
        app: &App,
        plans: &Plans,
        provider: &Arc<Provider>,
        connections: &HashSet<ConnectionId>,
    ) -> Result<Self, ForecastFailed> {
        let all = if shares_quotas(provider) { Some(plans.of(app, provider).await?) } else { None };
        let mut quota_inputs = all.as_ref().map(|all| all.quota_inputs.clone()).unwrap_or_default();
        if provider.has_quota_inputs() {
            let ids: Vec<_> = connections.iter().map(|id| id.0).collect();
            let rows = quota_inputs::of(&app.pool, &ids).await?;
            let inputs = rows.iter().map(|of| (of.connection, provider.quota_inputs(&of.params, of.devices)));
            quota_inputs.extend(inputs);
        }
        let rank = app.taker_settings();
        Ok(Self { provider: provider.clone(), quota_inputs, all, k: rank.k, base: rank.base })
    }

    /// Plans all jobs of some of these connections.
    pub fn forecast(&self, connections: &HashSet<ConnectionId>, demands: Vec<Demand>) -> Forecast {
        let others = self.all.as_ref().map_or_else(Beside::default, |all| all.all.without(connections));
        let plan = plan_beside(others, &self.provider, &demands, &self.quota_inputs, self.k, &self.base);
        let (provider, quota_inputs) = (self.provider.clone(), self.quota_inputs.clone());
        Forecast { provider, demands, quota_inputs, plan }
    }
}

/// Plans all jobs of these connections as they are given.
pub async fn forecast_beside(
    app: &App,
    plans: &Plans,
    provider: &Arc<Provider>,
    connections: &HashSet<ConnectionId>,
    jobs: Vec<StoredJob>,
) -> Result<Forecast, ForecastFailed> {
    let around = Surroundings::of(app, plans, provider, connections).await?;
    let demands = demands(jobs);
    let connections = connections.clone();
    // Other connections may be many.
    Ok(tokio::task::spawn_blocking(move || around.forecast(&connections, demands)).await?)
}

/// What scheduled jobs ask for.
pub fn demands(jobs: Vec<StoredJob>) -> Vec<Demand> {
    jobs.into_iter().filter(StoredJob::is_scheduled).map(demand).collect()
}
