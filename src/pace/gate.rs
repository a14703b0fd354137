//! The last line: whatever Redis says, one process alone cannot run away. It lets one more than the burst through (see
//! `limiter`), so it bounds a mistake; what keeps every window is the script's pacing.

use crate::provider::{Limit, Provider, Quota};
use crate::words::{QuotaInputs, Scope, TenantId};
use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota as Rate, RateLimiter};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Every quota of a provider once more, as `governor` limiters inside this process.
///
/// The grants of [`take`](crate::take) are already paced; this only bites if they are wrong.
pub struct Gate {
    clock: governor::clock::DefaultClock,
    quotas: Vec<(Quota, Limiters)>,
}

type Limiter = DefaultKeyedRateLimiter<String>;

/// One for each amount that somebody is allowed: accounts are told apart by their keys.
#[derive(Default)]
struct Limiters(Mutex<BTreeMap<u32, Arc<Limiter>>>);

/// Whom a call is counted for.
pub struct Counted<'a> {
    /// The tenant, whose connections have numbers of their own.
    pub tenant: TenantId,
    /// The lane: `<connection>` or `<connection>.<group>`.
    pub lane: &'a str,
    /// The resource asked for.
    pub resource: &'a crate::words::ResourceName,
    /// What the call costs.
    pub cost: u32,
    /// What the connection's limits depend on.
    pub terms: &'a QuotaInputs,
    /// The devices in it.
    pub devices: &'a [crate::words::DeviceId],
}

impl Gate {
    /// The provider's gate.
    pub fn new(provider: &Provider) -> Self {
        let rates = provider.quotas().filter(|quota| limiter(quota, &QuotaInputs::default()).is_some());
        let quotas = rates.map(|quota| (quota.clone(), Limiters::default())).collect();
        Self { clock: governor::clock::DefaultClock::default(), quotas }
    }

    /// Spends the call in every quota, or says how long it would have to wait.
    ///
    /// A quota that was already spent when a later one refuses stays spent: the gate errs to the strict side.
    pub fn pass(&self, call: &Counted<'_>) -> Result<(), Duration> {
        let Some(cost) = NonZeroU32::new(call.cost) else { return Ok(()) };
        for (quota, limiters) in self.quotas.iter().filter(|(quota, _)| quota.counts(call.resource)) {
            let Some(limiter) = limiters.of(quota, call.terms) else { continue };
            for key in keys(quota.scope, call) {
                // A cost above the burst is refused when the provider is loaded.
                if let Ok(Err(not_until)) = limiter.check_key_n(&key, cost) {
                    return Err(not_until.wait_time_from(self.clock.now()));
                }
            }
        }
        Ok(())
    }

    /// Forgets whom nobody called for a while.
    pub fn tidy(&self) {
        for (_, Limiters(all)) in &self.quotas {
            all.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, limiter| {
                limiter.retain_recent();
                !limiter.is_empty()
            });
        }
    }
}

impl Limiters {
    /// That of accounts on these terms; none of a quota that is no rate.
    fn of(&self, quota: &Quota, terms: &QuotaInputs) -> Option<Arc<Limiter>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let amount = quota.amount_for(terms);
        if let Some(known) = all.get(&amount) {
            return Some(known.clone());
        }
        let new = Arc::new(limiter(quota, terms)?);
        all.insert(amount, new.clone());
        Some(new)
    }
}

/// One more than the declared burst is let through: a call sent late followed by one sent in time is closer than T
/// without any window holding more than its amount. Of an aligned one only the amount can be held here, and of calls in
/// flight and errors in a row nothing: they are no rates.
fn limiter(quota: &Quota, terms: &QuotaInputs) -> Option<Limiter> {
    let (emission_ms, burst) = match quota.limits_for(terms).0 {
        Limit::Sliding { emission_ms, burst } => (emission_ms, burst),
        Limit::Aligned { amount, calendar, .. } => (calendar.least_ms() / f64::from(amount), amount),
        Limit::Adaptive { ceiling, window_ms, .. } => (window_ms / ceiling, 1),
        Limit::Concurrent { .. } | Limit::Errors { .. } => return None,
    };
    let rate = Rate::with_period(Duration::from_secs_f64(emission_ms / 1000.0))?;
    Some(RateLimiter::keyed(rate.allow_burst(NonZeroU32::new(burst.saturating_add(1))?)))
}

fn keys(scope: Scope, call: &Counted<'_>) -> Vec<String> {
    match scope {
        Scope::App => vec![String::new()],
        Scope::Connection => {
            vec![format!("{}/{}", call.tenant, call.lane.split('.').next().unwrap_or_default())]
        }
        Scope::Group => vec![format!("{}/{}", call.tenant, call.lane)],
        Scope::Device => call.devices.iter().map(ToString::to_string).collect(),
    }
}
