//! What all of a tenant's preferences ask of each quota, and what they get.

use super::advice::{self, Advice};
use super::many::{Slower, slower};
use super::{ChangeError, FORECAST_TIMEOUT};
use crate::app::App;
use crate::forecast::{Forecast, ForecastFailed, Plans, Surroundings, demands, holder};
use crate::pace::{Holder, Load};
use crate::preference::connections;
use crate::preference::jobs;
use crate::provider::Provider;
use crate::words::{ConnectionId, ProviderName, TenantId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tokio::time::{Instant, timeout};

/// What a tenant's jobs at one provider get.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// The provider.
    pub provider: ProviderName,
    /// How many jobs are scheduled.
    pub jobs: usize,
    /// How many of them get what they ask.
    pub as_asked: usize,
    /// Those that get less, by what limits them; most jobs first.
    pub slower: Vec<Slower>,
    /// The quotas that count them: those first that limit most jobs.
    pub quotas: Vec<QuotaUse>,
    /// Changes after which more jobs get what they ask, the most helpful first.
    pub advice: Vec<Advice>,
}

/// What is asked of a quota of one holder. Amounts are costs per hour in the provider's units, which is calls for most.
#[derive(Debug, Clone, PartialEq)]
pub struct QuotaUse {
    /// The quota's name.
    pub quota: String,
    /// What it counts, for a person.
    pub holder: String,
    /// The connection that it counts; none if it is shared by all connections, or counts a device.
    pub connection: Option<ConnectionId>,
    /// What would be spent if there were no quotas; none if others share the quota.
    pub asked_per_h: Option<f64>,
    /// What is spent; none if others share the quota.
    pub used_per_h: Option<f64>,
    /// What it allows in the long run.
    pub allows_per_h: f64,
    /// How many of the tenant's jobs get less than they ask because of it.
    pub limited_jobs: u64,
}

/// By provider, what the tenant's jobs ask and get.
pub async fn outlook(app: &App, plans: &Plans, tenant: TenantId) -> Result<Vec<Outlook>, ChangeError> {
    let mut by_provider = BTreeMap::<String, HashMap<ConnectionId, String>>::new();
    for row in connections::list(&app.pool, tenant).await? {
        by_provider.entry(row.provider).or_default().insert(ConnectionId(row.id), row.label);
    }
    let all = async {
        let mut found = Vec::new();
        for (name, labels) in by_provider {
            let Some(provider) = app.registry.get(&name) else { continue };
            found.extend(of_provider(app, plans, provider, labels).await?);
        }
        Ok(found)
    };
    timeout(4 * FORECAST_TIMEOUT, all).await.unwrap_or(Err(ForecastFailed::TooSlow.into()))
}

async fn of_provider(
    app: &App,
    plans: &Plans,
    provider: &Arc<Provider>,
    labels: HashMap<ConnectionId, String>,
) -> Result<Option<Outlook>, ChangeError> {
    let connections: HashSet<_> = labels.keys().copied().collect();
    let ids: Vec<_> = connections.iter().copied().collect();
    let demands = demands(jobs::of_connections(&app.pool, &ids).await?);
    if demands.is_empty() {
        return Ok(None);
    }
    let around = Surroundings::of(app, plans, provider, &connections).await?;
    let alone = plans.try_out().await;
    let planning = move || {
        let _alone = alone;
        let forecast = around.forecast(&connections, demands);
        let advice = advice::of(&forecast, &around, &labels, Instant::now() + FORECAST_TIMEOUT);
        Outlook {
            provider: forecast.provider.name.clone(),
            jobs: forecast.demands.len(),
            as_asked: forecast.jobs().filter(|(_, job)| job.is_as_asked()).count(),
            slower: slower(&forecast, |_| true),
            quotas: quotas(&forecast),
            advice,
        }
    };
    Ok(Some(tokio::task::spawn_blocking(planning).await.map_err(ForecastFailed::Task)?))
}

fn quotas(forecast: &Forecast) -> Vec<QuotaUse> {
    let mut loads: Vec<&Load> = forecast.plan.loads.iter().collect();
    // Nothing else: how much of a shared quota is used is others' affair.
    loads.sort_by_key(|load| Reverse(load.bound_jobs));
    let per_h = |per_s: f64| per_s * 3_600.0;
    let of_one = |load: &Load| {
        let is_own = load.holder != Holder::App;
        QuotaUse {
            quota: load.quota.clone(),
            holder: holder(&load.holder),
            connection: match &load.holder {
                Holder::Connection(connection) | Holder::Group(connection, _) => Some(*connection),
                Holder::App | Holder::Device(_) => None,
            },
            asked_per_h: is_own.then(|| per_h(load.demand_per_s)),
            used_per_h: is_own.then(|| per_h(load.used_per_s)),
            allows_per_h: per_h(load.supply_per_s),
            limited_jobs: load.bound_jobs,
        }
    };
    loads.into_iter().map(of_one).collect()
}
