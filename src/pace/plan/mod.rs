//! Computes the effective interval of every job from what is asked and what the quotas allow. Pure.
//!
//! It describes the long run under lasting overload; after a pause, bursts are faster for a while. The rule, as
//! `take.lua` implements it: lanes share a quota by cost, in proportion to their tenants' weights; jobs share their
//! lane by runs, in proportion to `base^(-1/k)` (see `schedule::score`); no job gets more than it asked. This is
//! weighted max-min fairness in two tiers, computed by progressive filling (D. Bertsekas and R. Gallager, *Data
//! Networks*, 2nd ed., 6.5.2); see `fill`. The cost of calls that serve several devices is a model; see `set`.
//!
//! It is a fluid model. Real calls are made one after another, so a delay differs by up to half the time between two
//! calls of its lane. Nested quotas of about the same supply and without a burst waste a little of it: what one allows
//! at an instant, the other refuses. Further approximations:
//! - a batch just above what one call serves, or just overloaded: calls count as full as soon as some job gets less
//!   than it asked;
//! - lanes with few jobs per batch at a shared quota: a lane that gets what it asks is assumed to make as many calls as
//!   without a backlog, although waiting jobs and jobs that join a call early save it some;
//! - several quotas of which some count only some resources: in rare mixtures up to about a tenth of a quota that
//!   limits some job stays unused;
//! - a device's own quotas: applied before all others, each run at the cost of a full call;
//! - `aligned` quotas by the shortest month, `adaptive` quotas by their start rate.
//!
//! Not modelled: `concurrent` and `errors` quotas, which set no rate; the duration of calls; holds, failures and
//! "refresh now"; and that a call for a whole group refreshes all its jobs, more often than they asked.

mod beside;
mod build;
mod fill;
mod grid;
mod invert;
mod lane;
mod report;
mod set;

#[cfg(test)]
mod examples;
#[cfg(test)]
mod properties;

use crate::provider::{Limit, Provider, Quota};
use crate::words::{
    ConnectionId, DeviceId, Interval, JobId, Priority, QuotaInputs, ResourceName, Scope, TenantId,
};
pub use beside::{Beside, shares_quotas};
use build::build_lanes;
use fill::{Supply, Tier, fill};
use lane::Lane;
use std::collections::HashMap;

/// A job that gets at least this share counts as getting all that it asked: the rest is rounding error.
const AS_ASKED: f64 = 1.0 - 1e-9;

/// Quota inputs by connection; connections without an entry get the default.
pub type QuotaInputsByConnection = HashMap<ConnectionId, QuotaInputs>;

/// The demand of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// The job.
    pub job: JobId,
    /// The tenant.
    pub tenant: TenantId,
    /// The tenant's weight among lanes, above 0; usually 1.
    pub weight: f64,
    /// The connection.
    pub connection: ConnectionId,
    /// The group within the connection; empty for none.
    pub group: String,
    /// The device.
    pub device: DeviceId,
    /// The resource.
    pub resource: ResourceName,
    /// The interval asked for.
    pub interval: Interval,
    /// The priority.
    pub priority: Priority,
}

/// What a quota counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The whole deployment.
    App,
    /// One connection.
    Connection(ConnectionId),
    /// One group of a connection.
    Group(ConnectionId, String),
    /// One device.
    Device(DeviceId),
}

/// Demand, use and supply of one quota of one holder. Costs in the provider's units.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The quota's name.
    pub quota: String,
    /// Its scope, as declared.
    pub scope: Scope,
    /// The holder. A quota of scope `group` counts the connection where a job has no group.
    pub holder: Holder,
    /// Cost per second if there were no limits.
    pub demand_per_s: f64,
    /// Cost per second as planned; at most the supply.
    pub used_per_s: f64,
    /// Cost per second that it allows scheduled calls in the long run.
    pub supply_per_s: f64,
    /// Whether the supply is only the start rate of an adaptive quota.
    pub is_assumed: bool,
    /// How many jobs get less than they asked because of it.
    pub bound_jobs: u64,
}

/// What one job gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effective {
    /// The job.
    pub job: JobId,
    /// The interval asked for, ms.
    pub asked_ms: f64,
    /// The interval it gets, ms; never below what it asked. None: its provider does not declare the resource.
    pub effective_ms: Option<f64>,
    /// The index in [`Plan::loads`] of the load that limits it.
    pub bound_by: Option<usize>,
}

impl Effective {
    /// Effective interval over asked interval; infinite if it cannot be served.
    pub fn stretch(&self) -> f64 {
        self.effective_ms.map_or(f64::INFINITY, |ms| ms / self.asked_ms)
    }

    /// Whether it gets what it asked.
    pub fn is_as_asked(&self) -> bool {
        self.stretch() * AS_ASKED <= 1.0
    }
}

/// What all jobs of a provider get.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// One entry per demand, in the same order.
    pub jobs: Vec<Effective>,
    /// One entry per quota and holder, in the order of the definition; for devices, only the quotas that bind.
    pub loads: Vec<Load>,
    /// The names of quotas that set no rate: calls in flight, errors in a row.
    pub without_rate: Vec<String>,
}

/// Computes the plan of a provider, with the score's `k` and `bases` (realtime first).
///
/// Groups equal demands, so that the cost depends on their variety more than on their number.
pub fn plan(
    provider: &Provider,
    demands: &[Demand],
    inputs: &QuotaInputsByConnection,
    k: f64,
    bases: &[f64; 5],
) -> Plan {
    plan_beside(Beside::default(), provider, demands, inputs, k, bases)
}

/// Likewise for some connections, beside what others ask of the quotas that all share.
pub fn plan_beside(
    others: Beside,
    provider: &Provider,
    demands: &[Demand],
    inputs: &QuotaInputsByConnection,
    k: f64,
    bases: &[f64; 5],
) -> Plan {
    let supplies = |scope: Scope| supplies(provider, scope, inputs);
    let (mut lanes, placements) = build_lanes(provider, demands, &weights(k, bases), supplies(Scope::Device));
    lanes.extend(others.lanes);
    let separate = |_: &Lane, _: &Lane| false;
    let tiers = [
        Tier { supplies: supplies(Scope::App), shared_below: Lane::shares_connection },
        Tier { supplies: supplies(Scope::Connection), shared_below: separate },
        Tier { supplies: supplies(Scope::Group), shared_below: separate },
    ];
    fill(&mut lanes, &tiers);
    report::report(provider, demands, inputs, &lanes, &placements)
}

/// The weight of each priority among the jobs of a lane, realtime first.
fn weights(k: f64, bases: &[f64; 5]) -> [f64; 5] {
    let least = bases.iter().copied().fold(f64::INFINITY, f64::min);
    bases.map(|base| (base / least).powf(-1.0 / k))
}

/// The quotas of a scope that set a rate.
fn supplies(provider: &Provider, scope: Scope, inputs: &QuotaInputsByConnection) -> Vec<Supply> {
    let of_scope = provider.quotas().enumerate().filter(|(_, quota)| quota.scope == scope);
    of_scope
        .filter_map(|(at, quota)| {
            let per_ms_for = |inputs: &QuotaInputs| per_ms(quota, inputs);
            let own = inputs.iter().filter(|_| quota.varies());
            Some(Supply {
                quota: at,
                per_ms: per_ms_for(&QuotaInputs::default())?,
                own: own
                    .filter_map(|(connection, inputs)| Some((connection.0, per_ms_for(inputs)?)))
                    .collect(),
                counts: counts(provider, quota),
            })
        })
        .collect()
}

/// Cost per ms that a quota allows scheduled calls in the long run; none if it sets no rate.
fn per_ms(quota: &Quota, inputs: &QuotaInputs) -> Option<f64> {
    let (whole, scheduled) = quota.limits_for(inputs);
    match scheduled.unwrap_or(whole) {
        Limit::Sliding { emission_ms, .. } => Some(1.0 / emission_ms),
        Limit::Aligned { amount, calendar, .. } => Some(f64::from(amount) / calendar.least_ms()),
        Limit::Adaptive { start, window_ms, .. } => Some(start / window_ms),
        Limit::Concurrent { .. } | Limit::Errors { .. } => None,
    }
}

/// Whether a quota counts a resource, by the resource's index in the definition.
fn counts(provider: &Provider, quota: &Quota) -> Vec<bool> {
    provider.resource_names().map(|name| quota.counts(name)).collect()
}
