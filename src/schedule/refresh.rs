//! "Refresh now": which jobs, and how many a tenant may ask for.

use super::Queue;
use super::queue::BATCH;
use crate::provider::{Limit, Provider, Quota};
use crate::redis::RedisError;
use crate::words::{Interval, JobId, ProviderName, ResourceName, Scope, TenantId};
use serde::Serialize;
use std::time::Duration;

/// What "refresh now" comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Refresh {
    /// It runs as soon as the quotas let it.
    Queued,
    /// It was asked for before, and will.
    Waiting,
    /// It is being fetched.
    Running,
    /// The tenant asks for too many.
    Limited(Limited),
    /// The schedule does not have it.
    Unknown,
}

/// Why a tenant's refresh is not admitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Limited {
    /// The limit.
    pub by: LimitedBy,
    /// For how long.
    pub wait: Duration,
}

/// A limit of refreshes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitedBy {
    /// The job was refreshed just now.
    Job,
    /// The tenant asked for as many as it may.
    Tenant,
    /// Refreshes have had their share of this quota, which all tenants have in common.
    Share(String),
}

/// What is left to a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RefreshesLeft {
    /// So many at once.
    pub left: u32,
    /// Until there is one more.
    pub reset: Duration,
}

/// How many refreshes of a resource a tenant may ask for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefreshLimits {
    tenant: i64,
    amount: u32,
    window_ms: u64,
    job_ms: u64,
    shares: Vec<Share>,
}

/// What refreshes of all tenants may spend of a quota.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Share {
    quota: String,
    cost: f64,
    /// At most so much within the span.
    budget: f64,
    span_ms: f64,
}

/// The settings of refreshes.
#[derive(Debug, Clone, Copy)]
pub struct RefreshBounds {
    /// A tenant's refreshes at one provider …
    pub amount: u32,
    /// … in this time.
    pub window: Interval,
    /// A job's refreshes are at least this far apart.
    pub job_every: Interval,
    /// The share of a quota of the app's for the refreshes of all tenants.
    pub app_share: f64,
}

impl RefreshLimits {
    /// Of a tenant and a resource of the provider.
    pub fn of(bounds: RefreshBounds, tenant: TenantId, provider: &Provider, resource: &ResourceName) -> Self {
        let cost = provider.resource(resource.as_str()).map_or(1, |resource| resource.cost_of(1));
        let counted = provider.quotas().filter(|quota| quota.scope == Scope::App && quota.counts(resource));
        Self {
            tenant: tenant.0,
            amount: bounds.amount,
            window_ms: bounds.window.as_ms(),
            job_ms: bounds.job_every.as_ms(),
            shares: counted.filter_map(|quota| share(quota, cost, bounds.app_share)).collect(),
        }
    }
}

/// The share of a quota; none of one that has no pace.
fn share(quota: &Quota, cost: u32, share: f64) -> Option<Share> {
    let (amount, span_ms) = match quota.limits().0 {
        Limit::Sliding { emission_ms, .. } => (quota.span_ms() / emission_ms, quota.span_ms()),
        Limit::Aligned { amount, .. } => (f64::from(amount), quota.span_ms()),
        Limit::Adaptive { start, window_ms, .. } => (start, window_ms),
        Limit::Concurrent { .. } | Limit::Errors { .. } => return None,
    };
    // What it reserves is for refreshes. Of a small quota, the same pace in a longer span: two must have room, one of a
    // tenant and one of the next.
    let (cost, budget) = (f64::from(cost), amount * share.max(quota.reserve));
    let stretch = (2.0 * cost / budget).max(1.0);
    Some(Share { quota: quota.name.clone(), cost, budget: budget * stretch, span_ms: span_ms * stretch })
}

impl Queue {
    /// Lets these jobs of one provider run now, ahead of everything.
    pub async fn refresh(&self, provider: &ProviderName, jobs: &[JobId]) -> Result<Vec<Refresh>, RedisError> {
        let mut answers = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(BATCH) {
            answers.extend(self.ask(provider, batch, b"").await?.0);
        }
        Ok(answers)
    }

    /// [`refresh`](Self::refresh) of jobs of one resource, as far as their tenant may ask for them.
    pub async fn refresh_within(
        &self,
        provider: &ProviderName,
        jobs: &[JobId],
        limits: &RefreshLimits,
    ) -> Result<(Vec<Refresh>, RefreshesLeft), RedisError> {
        let packed = self.scripts.refresh.pack(limits)?;
        let (mut answers, mut left) = (Vec::with_capacity(jobs.len()), RefreshesLeft::default());
        for batch in jobs.chunks(BATCH) {
            let (found, after) = self.ask(provider, batch, &packed).await?;
            answers.extend(found);
            left = after;
        }
        Ok((answers, left))
    }

    async fn ask(
        &self,
        provider: &ProviderName,
        jobs: &[JobId],
        limits: &[u8],
    ) -> Result<(Vec<Refresh>, RefreshesLeft), RedisError> {
        let ids: Vec<_> = jobs.iter().map(|id| id.to_string()).collect();
        let args: Vec<_> = [&b""[..], limits].into_iter().chain(ids.iter().map(|id| id.as_bytes())).collect();
        let anchor = self.keys.anchor(provider);
        let (answers, left, reset_ms): (Vec<(String, String, f64)>, f64, f64) =
            self.scripts.refresh.ask(&self.redis, &anchor, &args).await?;
        let left = RefreshesLeft { left: left.max(0.0) as u32, reset: millis(reset_ms) };
        Ok((answers.into_iter().map(Refresh::from_answer).collect(), left))
    }
}

impl Refresh {
    fn from_answer((word, why, wait_ms): (String, String, f64)) -> Self {
        match word.as_str() {
            "queued" => Self::Queued,
            "waiting" => Self::Waiting,
            "running" => Self::Running,
            "limited" => {
                let by = match why.as_str() {
                    "job" => LimitedBy::Job,
                    "tenant" => LimitedBy::Tenant,
                    _ => LimitedBy::Share(why),
                };
                Self::Limited(Limited { by, wait: millis(wait_ms) })
            }
            _ => Self::Unknown,
        }
    }
}

fn millis(ms: f64) -> Duration {
    Duration::from_millis(ms.max(0.0).ceil() as u64)
}
