//! A rate limiter inside each process, the last defence if the grants from Redis are wrong. It lets one call more than
//! the burst through (see `limiter`), so it only bounds a mistake; the pacing of the take script keeps every window.

use crate::provider::{Limit, Provider, Quota};
use crate::words::{QuotaInputs, Scope, TenantId};
use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota as Rate, RateLimiter};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Every quota of a provider as `governor` limiters in this process.
///
/// The grants of [`take`](crate::take) are already paced; the gate refuses only if they are wrong.
pub struct Gate {
    clock: governor::clock::DefaultClock,
    quotas: Vec<(Quota, Limiters)>,
}

type Limiter = DefaultKeyedRateLimiter<String>;

/// One limiter for each amount in use. A limiter's keys tell the holders apart.
#[derive(Default)]
struct Limiters(Mutex<BTreeMap<u32, Arc<Limiter>>>);

/// A call as quotas count it.
pub struct GateCall<'a> {
    /// The tenant.
    pub tenant: TenantId,
    /// The lane: `<connection>` or `<connection>.<group>`.
    pub lane: &'a str,
    /// The resource.
    pub resource: &'a crate::words::ResourceName,
    /// The call's cost.
    pub cost: u32,
    /// The connection's quota inputs.
    pub quota_inputs: &'a QuotaInputs,
    /// The devices that the call serves.
    pub devices: &'a [crate::words::DeviceId],
}

impl Gate {
    /// The gate of a provider.
    pub fn new(provider: &Provider) -> Self {
        let rates = provider.quotas().filter(|quota| limiter(quota, &QuotaInputs::default()).is_some());
        let quotas = rates.map(|quota| (quota.clone(), Limiters::default())).collect();
        Self { clock: governor::clock::DefaultClock::default(), quotas }
    }

    /// Spends the call in every quota, or returns how long it would have to wait.
    ///
    /// If a quota refuses, those checked before stay spent: the gate errs on the strict side.
    pub fn pass(&self, call: &GateCall<'_>) -> Result<(), Duration> {
        let Some(cost) = NonZeroU32::new(call.cost) else { return Ok(()) };
        for (quota, limiters) in self.quotas.iter().filter(|(quota, _)| quota.counts(call.resource)) {
            let Some(limiter) = limiters.get(quota, call.quota_inputs) else { continue };
            for key in keys(quota.scope, call) {
                // A cost above the burst is refused when the provider is loaded.
                if let Ok(Err(not_until)) = limiter.check_key_n(&key, cost) {
                    return Err(not_until.wait_time_from(self.clock.now()));
                }
            }
        }
        Ok(())
    }

    /// Drops the state of holders that were not called for a while.
    pub fn drop_idle(&self) {
        for (_, Limiters(all)) in &self.quotas {
            all.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, limiter| {
                limiter.retain_recent();
                !limiter.is_empty()
            });
        }
    }
}

impl Limiters {
    /// The limiter for these quota inputs; none if the quota sets no rate.
    fn get(&self, quota: &Quota, inputs: &QuotaInputs) -> Option<Arc<Limiter>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let amount = quota.amount_for(inputs);
        if let Some(existing) = all.get(&amount) {
            return Some(existing.clone());
        }
        let new = Arc::new(limiter(quota, inputs)?);
        all.insert(amount, new.clone());
        Some(new)
    }
}

/// Allows one call more than the declared burst: a call sent late and the next one sent on time are closer than T,
/// although no window holds more than its amount. Of an aligned quota it enforces only the amount; quotas of calls in
/// flight and errors in a row set no rate and are not enforced.
fn limiter(quota: &Quota, inputs: &QuotaInputs) -> Option<Limiter> {
    let (emission_ms, burst) = match quota.limits_for(inputs).0 {
        Limit::Sliding { emission_ms, burst } => (emission_ms, burst),
        Limit::Aligned { amount, calendar, .. } => (calendar.least_ms() / f64::from(amount), amount),
        Limit::Adaptive { ceiling, window_ms, .. } => (window_ms / ceiling, 1),
        Limit::Concurrent { .. } | Limit::Errors { .. } => return None,
    };
    let rate = Rate::with_period(Duration::from_secs_f64(emission_ms / 1000.0))?;
    Some(RateLimiter::keyed(rate.allow_burst(NonZeroU32::new(burst.saturating_add(1))?)))
}

fn keys(scope: Scope, call: &GateCall<'_>) -> Vec<String> {
    match scope {
        Scope::App => vec![String::new()],
        Scope::Connection => {
            vec![format!("{}/{}", call.tenant, call.lane.split('.').next().unwrap_or_default())]
        }
        Scope::Group => vec![format!("{}/{}", call.tenant, call.lane)],
        Scope::Device => call.devices.iter().map(ToString::to_string).collect(),
    }
}
