//! The one caller of `take.lua` and `settle.lua`.

use super::Settlement;
use crate::provider::Provider;
use crate::redis::{Keys, Redis, RedisError, Script};
use crate::words::{CallId, Interval, JobId, ProviderName, ResourceName, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How calls are granted.
#[derive(Debug, Clone)]
pub struct TakerSettings {
    /// Grants are made this far ahead, so that one round trip serves a fast provider.
    pub horizon: Interval,
    /// After its send instant a call has this long until it is given to somebody else.
    pub lease: Interval,
    /// k of the score.
    pub k: f64,
    /// Base priority of each class, realtime first.
    pub base: [f64; 5],
    /// Put before every key's name.
    pub keys: Keys,
}

/// Permission for one call at a given instant.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Grant {
    /// Its number, and its fence.
    pub call: CallId,
    /// The lane it is for.
    pub lane: String,
    /// The resource it fetches.
    pub resource: ResourceName,
    /// From the script's run to the instant at which it may be sent.
    pub send_in_ms: f64,
    /// Whom it serves.
    pub jobs: Vec<GrantedJob>,
}

/// One job of a granted call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct GrantedJob {
    /// The job.
    pub id: JobId,
    /// When it was due.
    pub due: UnixMs,
    /// How often it failed in a row, in the same way.
    pub attempts: u32,
    /// In which way: see [`Kind`](super::Kind); 0 for none.
    pub kind: u8,
    /// The version of the preference that the schedule has.
    pub version: i64,
}

/// What one take found.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Taken {
    /// False: the schedule was not built on this run of the server, and nothing is granted until it is.
    pub live: bool,
    /// The schedule's clock as the script ran.
    pub now: UnixMs,
    /// When to ask again if nothing else happens, ms from `now`; negative: not before something is put.
    pub wake_in_ms: f64,
    /// Calls whose worker was lost.
    pub reaped: u32,
    /// What may be sent.
    pub grants: Vec<Grant>,
    /// Lanes that must wait: which quota or hold binds, and until when (ms).
    pub bound: Vec<(String, String, f64)>,
}

/// Takes and settles calls of one provider.
pub struct Taker {
    redis: Redis,
    anchor: String,
    take: Script,
    settle: Script,
    spec: Spec,
    /// Whose calls.
    pub provider: ProviderName,
}

#[derive(Clone, Serialize)]
struct Spec {
    calls: usize,
    horizon_ms: u64,
    lease_ms: u64,
    promote: usize,
    k: f64,
    base: [f64; 5],
    quotas: Vec<QuotaSpec>,
    resources: BTreeMap<String, ResourceSpec>,
}

#[derive(Clone, Serialize)]
struct QuotaSpec {
    name: String,
    scope: &'static str,
    emission_ms: f64,
    burst: u32,
    resources: Vec<String>,
}

#[derive(Clone, Serialize)]
struct ResourceSpec {
    max: u32,
    cost: u32,
    cost_per_device: u32,
}

impl Taker {
    /// The taker of a provider's calls.
    pub fn new(redis: Redis, provider: &Provider, settings: &TakerSettings) -> Self {
        Self {
            redis,
            anchor: settings.keys.anchor(&provider.name),
            take: Script::new("take", include_str!("lua/take.lua")),
            settle: Script::new("settle", include_str!("lua/settle.lua")),
            spec: spec(provider, settings),
            provider: provider.name.clone(),
        }
    }

    /// Takes up to `calls` calls. `now` is for tests; `None` is Redis's own clock.
    pub async fn take(&self, calls: usize, now: Option<UnixMs>) -> Result<Taken, RedisError> {
        let spec = self.take.pack(&Spec { calls, ..self.spec.clone() })?;
        let now = now.map_or(String::new(), |at| at.0.to_string());
        self.take.ask(&self.redis, &self.anchor, &[now.as_bytes(), &spec]).await
    }

    /// Ends calls. Returns those that were no longer held; nothing was changed for them.
    pub async fn settle(
        &self,
        settlements: &[Settlement],
        now: Option<UnixMs>,
    ) -> Result<Vec<CallId>, RedisError> {
        let packed = self.settle.pack(&settlements)?;
        let now = now.map_or(String::new(), |at| at.0.to_string());
        let stale: Vec<i64> = self.settle.run(&self.redis, &self.anchor, &[now.as_bytes(), &packed]).await?;
        Ok(stale.into_iter().map(CallId).collect())
    }
}

fn spec(provider: &Provider, settings: &TakerSettings) -> Spec {
    let quotas = provider.quotas().map(|quota| QuotaSpec {
        name: quota.name.clone(),
        scope: quota.scope.as_str(),
        emission_ms: 0.0,
        burst: quota.burst(),
        resources: quota.resources.iter().flatten().map(ToString::to_string).collect(),
    });
    let resources = provider.definition.resources.iter().map(|(name, resource)| {
        let resource = resource.get_ref();
        let spec = ResourceSpec {
            max: resource.batch_max,
            cost: resource.cost,
            cost_per_device: resource.cost_per_device,
        };
        (name.get_ref().to_string(), spec)
    });
    Spec {
        calls: 0,
        horizon_ms: settings.horizon.as_ms(),
        lease_ms: settings.lease.as_ms() + provider.definition.http.timeout.as_ms(),
        promote: 1000,
        k: settings.k,
        base: settings.base,
        quotas: quotas.collect(),
        resources: resources.collect(),
    }
}
