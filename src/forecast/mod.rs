//! The interval that every job will get, and why: the jobs are read from Postgres, page by page, and planned by
//! [`pace::plan`](fn@crate::pace::plan).

mod beside;
mod plans;

pub use beside::{Surroundings, demands, forecast_beside};
pub use plans::{ForecastFailed, Gets, JobPlans, Plans};

use crate::app::App;
use crate::pace::{Demand, Effective, Holder, Load, Plan, QuotaInputsByConnection, plan};
use crate::postgres::PostgresError;
use crate::preference::jobs::{self, StoredJob};
use crate::preference::quota_inputs;
use crate::provider::{Amount, Limit, Provider, Quota};
use crate::words::{ConnectionId, Interval, JobId, QuotaInputs};
use std::fmt::Write;
use std::sync::Arc;

const PAGE: i64 = 5_000;

/// All demands on a provider, and the plan for them.
#[derive(Debug)]
pub struct Forecast {
    /// The provider.
    pub provider: Arc<Provider>,
    /// Every scheduled job, by id.
    pub demands: Vec<Demand>,
    /// The quota inputs of their connections, where amounts depend on them.
    pub quota_inputs: QuotaInputsByConnection,
    /// What the jobs get, in the same order.
    pub plan: Plan,
}

/// Plans all scheduled jobs of a provider: one tenant's jobs alone would not show what they compete with.
pub async fn forecast(app: &App, provider: &Arc<Provider>) -> Result<Forecast, PostgresError> {
    let (mut demands, mut after) = (Vec::new(), JobId(0));
    loop {
        let page = jobs::page(&app.pool, &provider.name, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.job.id;
        demands.extend(beside::demands(page));
    }
    let rank = app.taker_settings();
    let quota_inputs = quota_inputs(app, provider).await?;
    let plan = plan(provider, &demands, &quota_inputs, rank.k, &rank.base);
    Ok(Forecast { provider: provider.clone(), demands, quota_inputs, plan })
}

/// By connection; empty where no amount depends on them.
async fn quota_inputs(app: &App, provider: &Provider) -> Result<QuotaInputsByConnection, PostgresError> {
    let (mut found, mut after) = (QuotaInputsByConnection::new(), ConnectionId(0));
    while provider.has_quota_inputs() {
        let page = quota_inputs::page(&app.pool, &provider.name, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.connection;
        found.extend(page.iter().map(|of| (of.connection, provider.quota_inputs(&of.params, of.devices))));
    }
    Ok(found)
}

fn demand(stored: StoredJob) -> Demand {
    let weight = f64::from(stored.weight);
    let job = stored.job;
    Demand {
        job: job.id,
        tenant: job.tenant,
        weight,
        connection: job.connection,
        group: job.group,
        device: job.device,
        resource: job.resource,
        interval: job.interval,
        priority: job.priority,
    }
}

impl Forecast {
    /// Each job with what it gets.
    pub fn jobs(&self) -> impl Iterator<Item = (&Demand, &Effective)> {
        self.demands.iter().zip(&self.plan.jobs)
    }

    /// The quota that keeps a job from the interval it asked for.
    pub fn bound_by(&self, job: &Effective) -> Option<&Load> {
        self.plan.loads.get(job.bound_by?)
    }

    /// What a job gets, in numbers and in words.
    pub fn gets(&self, demand: &Demand, job: &Effective) -> Gets {
        let load = self.bound_by(job).filter(|_| !job.is_as_asked());
        let inputs = self.quota_inputs.get(&demand.connection);
        Gets {
            effective_ms: job.effective_ms,
            text: job.effective_ms.map(about),
            limited_by: load.and_then(|load| limited_by(&self.provider, load, inputs)),
        }
    }

    /// `asked 30s, gets 47s: quota hour of connection 3 allows 500 in 1h`; none for a job that gets what it asked.
    pub fn why(&self, demand: &Demand, job: &Effective) -> Option<String> {
        if job.is_as_asked() {
            return None;
        }
        let mut why = format!("asked {}, gets {}", demand.interval, gets(demand, job));
        if job.effective_ms.is_none() {
            let _ = write!(why, ": {} declares no resource {}", self.provider.name, demand.resource);
        }
        if let Some(load) = self.bound_by(job) {
            let inputs = self.quota_inputs.get(&demand.connection);
            if let Some(limit) = limited_by(&self.provider, load, inputs) {
                let _ = write!(why, ": {limit}");
            }
        }
        Some(why)
    }
}

/// The interval a job gets, as text.
pub fn gets(demand: &Demand, job: &Effective) -> String {
    let (asked, gets) = (demand.interval.to_string(), job.effective_ms.map(about));
    match gets {
        None => "nothing at all".to_owned(),
        Some(gets) if gets == asked && !job.is_as_asked() => format!("{asked} and a little"),
        Some(gets) => gets,
    }
}

/// `quota hour of connection 3 allows 500 in 1h`; none if the definition has no such quota any more.
fn limited_by(provider: &Provider, load: &Load, inputs: Option<&QuotaInputs>) -> Option<String> {
    let quota = provider.quotas().find(|quota| quota.name == load.quota)?;
    let unknown = QuotaInputs::default();
    let allows = allows(quota, inputs.unwrap_or(&unknown));
    Some(format!("quota {} of {} {allows}", quota.name, holder(&load.holder)))
}

/// A quota's holder, as text.
pub fn holder(holder: &Holder) -> String {
    match holder {
        Holder::App => "the application".to_owned(),
        Holder::Connection(connection) => format!("connection {connection}"),
        Holder::Group(connection, group) => format!("group {group} of connection {connection}"),
        Holder::Device(device) => format!("device {device}"),
    }
}

fn allows(quota: &Quota, inputs: &QuotaInputs) -> String {
    let window = quota.window.map_or(String::new(), |window| window.to_string());
    let (whole, rest) = quota.limits_for(inputs);
    let (amount, word) = match whole {
        Limit::Adaptive { start, .. } => (start, "is tried at"),
        _ => (f64::from(quota.amount_for(inputs)), "allows"),
    };
    let per = if matches!(whole, Limit::Aligned { .. }) { "per" } else { "in" };
    let reserve = match rest {
        Some(_) => format!(", {:.0} % of it reserved", quota.reserve * 100.0),
        None => String::new(),
    };
    // Named, because the account may be on another plan than its owner said.
    let plan = match quota.amount {
        Amount::ByPlan(_) if !inputs.plan.is_empty() => format!(" on plan {}", inputs.plan),
        _ => String::new(),
    };
    format!("{word} {amount:.0} {per} {window}{plan}{reserve}")
}

/// A duration rounded for a person, to about three digits.
fn about(ms: f64) -> String {
    let step = match ms {
        ms if ms < 10_000.0 => 100.0,
        ms if ms < 600_000.0 => 1_000.0,
        ms if ms < 36_000_000.0 => 60_000.0,
        _ => 3_600_000.0,
    };
    let rounded = ((ms / step).round() * step) as u64;
    match Interval::from_ms(rounded) {
        Some(interval) if rounded < 10_000 => format!("{}s", interval.as_ms() as f64 / 1_000.0),
        Some(interval) => interval.to_string(),
        None => format!("{:.0}days", ms / 86_400_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_for_people() {
        for (ms, text) in [
            (1_234.0, "1.2s"),
            (46_551.7, "47s"),
            (119_700.0, "2m"),
            (754_321.0, "13m"),
            (3_700_000.0, "1h2m"),
            (100_000_000.0, "1day4h"),
            (1e10, "116days"),
        ] {
            assert_eq!(about(ms), text);
        }
    }

    #[test]
    fn quota_text_says_what_it_allows() {
        let quota = |lines: &str| {
            let text = format!("name = \"q\"\nscope = \"app\"\namount = 500\n{lines}");
            allows(&toml::from_str::<Quota>(&text).unwrap(), &QuotaInputs::default())
        };
        assert_eq!(quota("window = \"1h\""), "allows 500 in 1h");
        assert_eq!(
            quota("kind = \"aligned\"\nwindow = \"day\"\nreserve = 0.1"),
            "allows 500 per day, 10 % of it reserved"
        );
        assert_eq!(quota("kind = \"adaptive\"\nwindow = \"1m\""), "is tried at 50 in 1m");
    }
}
