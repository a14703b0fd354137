//! A provider's quotas and resources as the scripts want them.

use super::distance::Distance;
use super::settings::TakerSettings;
use crate::provider::{Limit, Provider, Quota, adaptive};
use crate::words::UnixMs;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What `take.lua`, `settle.lua` and `reserve.lua` get every time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Spec {
    /// Of this process; see [`Distance`].
    distance: Distance,
    horizon_ms: u64,
    ahead_ms: u64,
    lease_ms: u64,
    jobs_max: usize,
    piggyback_share: f64,
    piggyback_ms: u64,
    k: f64,
    base: [f64; 5],
    /// The longest waits after failures in a row: that may pass, and that last.
    waits_max_ms: [u64; 2],
    hold: HoldSpec,
    /// Whether any quota is aligned, adaptive, or does not count errors: scripts need not look otherwise.
    has_aligned: bool,
    has_adaptive: bool,
    has_free_errors: bool,
    /// Whether any depends on the quota inputs of connections.
    has_quota_inputs: bool,
    quotas: Vec<QuotaSpec>,
    resources: BTreeMap<String, ResourceSpec>,
}

#[derive(Debug, Clone, Serialize)]
struct HoldSpec {
    first_ms: u64,
    cap_ms: u64,
    reported_cap_ms: u64,
}

#[derive(Debug, Clone, Serialize)]
struct QuotaSpec {
    name: String,
    field: String,
    scope: &'static str,
    background: bool,
    free_errors: bool,
    resources: Vec<String>,
    /// How it depends on a connection's quota inputs; `limit` is for a connection without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    varies: Option<Varies>,
    /// The stretched window of a sliding one; see [`Quota::span_ms`].
    span_ms: f64,
    #[serde(flatten)]
    limit: LimitSpec,
    /// Where the window boundaries of an aligned one come from.
    #[serde(skip)]
    source: Limit,
}

/// `amount = plans[plan] or least, + ⌈devices / per_devices⌉ · per_device`, of which this is a share.
#[derive(Debug, Clone, Serialize)]
struct Varies {
    plans: BTreeMap<String, u32>,
    least: u32,
    per_device: u32,
    per_devices: u32,
    share: f64,
    burst: u32,
    /// Of a sliding one: what the emission interval is a part of, ms.
    span_ms: f64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum LimitSpec {
    Sliding {
        emission_ms: f64,
        burst: u32,
    },
    Aligned {
        amount: u32,
        burst: u32,
        margin_ms: f64,
        boundaries: [i64; 3],
    },
    Concurrent {
        amount: u32,
    },
    Errors {
        amount: u32,
        window_ms: f64,
    },
    Adaptive {
        ceiling: f64,
        start: f64,
        floor: f64,
        window_ms: f64,
        /// See [`crate::provider::adaptive`].
        cut: f64,
        cut_pause_ms: f64,
        raise: f64,
    },
}

#[derive(Debug, Clone, Serialize)]
struct ResourceSpec {
    max: u32,
    cost: u32,
    cost_per_device: u32,
}

/// About how many jobs one script gathers, and how many of a backlog it looks at: Redis serves nobody else meanwhile.
pub(super) const JOBS_MAX: usize = 500;

impl Spec {
    pub(super) fn of(provider: &Provider, settings: &TakerSettings) -> Self {
        let resources = provider.definition.resources.iter().map(|(name, resource)| {
            let resource = resource.get_ref();
            let spec = ResourceSpec {
                max: resource.places(),
                cost: resource.cost_per_call(),
                cost_per_device: resource.cost_per_device,
            };
            (name.get_ref().to_string(), spec)
        });
        let quotas: Vec<_> = provider.quotas().flat_map(specs).collect();
        let calls = provider.definition.calls();
        let pages_ms = calls.map(|(_, call)| call.get_ref().pages_ms()).max().unwrap_or(0);
        let any = |fits: fn(&LimitSpec) -> bool| quotas.iter().any(|q| fits(&q.limit));
        Self {
            distance: Distance::default(),
            horizon_ms: settings.horizon.as_ms(),
            ahead_ms: settings.ahead.as_ms().min(settings.horizon.as_ms()),
            lease_ms: settings.lease.as_ms() + provider.definition.http.timeout.as_ms() + pages_ms,
            jobs_max: JOBS_MAX,
            piggyback_share: settings.ride_share,
            piggyback_ms: settings.ride_max.as_ms(),
            k: settings.k,
            base: settings.base,
            waits_max_ms: settings.waits_max.map(crate::words::Interval::as_ms),
            hold: HoldSpec {
                first_ms: settings.hold.first.as_ms(),
                cap_ms: settings.hold.cap.as_ms(),
                reported_cap_ms: settings.hold.reported_cap.as_ms(),
            },
            has_aligned: any(|limit| matches!(limit, LimitSpec::Aligned { .. })),
            has_adaptive: any(|limit| matches!(limit, LimitSpec::Adaptive { .. })),
            has_free_errors: quotas.iter().any(|q| q.free_errors),
            has_quota_inputs: provider.has_quota_inputs(),
            quotas,
            resources: resources.collect(),
        }
    }

    /// The most jobs of one call.
    pub(super) fn call_jobs_max(&self) -> usize {
        self.resources.values().map(|resource| resource.max as usize).max().unwrap_or(1)
    }

    /// Sets how far this process is from its servers. Returns what it was.
    pub(super) fn set_distance(&mut self, distance: Distance) -> Distance {
        std::mem::replace(&mut self.distance, distance)
    }

    /// How far this process is from its servers.
    pub(super) fn distance(&self) -> Distance {
        self.distance
    }

    /// How long before its due instant a job is taken: as `Run.look_ahead` of the scripts.
    pub(super) fn look_ahead(&self) -> Duration {
        Duration::from_millis(self.ahead_ms / 2 + self.distance.lead_ms * 3 / 2)
    }

    /// The shortest stretched window of sliding quotas.
    pub(super) fn shortest_span_ms(&self) -> Option<f64> {
        let sliding = self.quotas.iter().filter(|q| matches!(q.limit, LimitSpec::Sliding { .. }));
        sliding.map(|q| q.span_ms).min_by(f64::total_cmp)
    }

    /// Whether it changes with time.
    pub(super) fn follows_the_calendar(&self) -> bool {
        self.has_aligned
    }

    /// Sets the window boundaries around this instant.
    pub(super) fn set_boundaries(&mut self, now: UnixMs) {
        for quota in &mut self.quotas {
            if let (LimitSpec::Aligned { boundaries, .. }, Limit::Aligned { calendar, zone, .. }) =
                (&mut quota.limit, &quota.source)
                && !(boundaries[0]..boundaries[1]).contains(&now.0)
            {
                *boundaries = calendar.boundaries(zone, now).map(|boundary| boundary.0);
            }
        }
    }
}

/// A quota, and beside it what its reserve leaves for background syncs.
fn specs(quota: &Quota) -> Vec<QuotaSpec> {
    let spec = |limit: Limit, background: bool| QuotaSpec {
        name: quota.name.clone(),
        // `~` is in no quota's name.
        field: if background { format!("{}~", quota.name) } else { quota.name.clone() },
        scope: quota.scope.as_str(),
        background,
        free_errors: !quota.errors_cost,
        resources: quota.resources.iter().flatten().map(ToString::to_string).collect(),
        varies: quota.varies().then(|| varies(quota, if background { 1.0 - quota.reserve } else { 1.0 })),
        span_ms: quota.span_ms(),
        limit: (&limit).into(),
        source: limit,
    };
    let (all, background) = quota.limits();
    let mut found = vec![spec(all, false)];
    found.extend(background.map(|limit| spec(limit, true)));
    found
}

fn varies(quota: &Quota, share: f64) -> Varies {
    Varies {
        plans: quota.amount.plans().map(|(plan, amount)| (plan.to_owned(), amount)).collect(),
        least: quota.least(),
        per_device: quota.amount_per_device.unwrap_or(0),
        per_devices: quota.devices_a_step(),
        share,
        burst: quota.burst(),
        span_ms: quota.span_ms(),
    }
}

impl From<&Limit> for LimitSpec {
    fn from(limit: &Limit) -> Self {
        match *limit {
            Limit::Sliding { emission_ms, burst } => Self::Sliding { emission_ms, burst },
            Limit::Aligned { amount, burst, margin_ms, .. } => {
                Self::Aligned { amount, burst, margin_ms, boundaries: [0; 3] }
            }
            Limit::Concurrent { amount } => Self::Concurrent { amount },
            Limit::Errors { amount, window_ms } => Self::Errors { amount, window_ms },
            Limit::Adaptive { ceiling, start, floor, window_ms } => Self::Adaptive {
                ceiling,
                start,
                floor,
                window_ms,
                cut: adaptive::CUT,
                cut_pause_ms: adaptive::CUT_PAUSE * window_ms,
                raise: adaptive::RAISE * ceiling,
            },
        }
    }
}
