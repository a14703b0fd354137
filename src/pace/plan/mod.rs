//! What every job will get: its effective interval, computed from what is asked and what the quotas allow. Pure.
//!
//! This is the long run under lasting overload; after a pause bursts are quicker for a while. The rule, as `take.lua`
//! serves: lanes share a quota in proportion to their tenants' weights, by cost; inside a lane jobs share in
//! proportion to `base^(-1/k)`, by runs (see `schedule::score`); nobody gets more than they asked. That is weighted
//! max-min fairness in two tiers, computed by progressive filling (D. Bertsekas and R. Gallager, *Data Networks*,
//! 2nd ed., 6.5.2); see `fill`. What calls that serve several devices cost is a model; see `set`.
//!
//! It is the answer for a fluid. Calls are made one after another, so that a delay differs by up to half the time
//! between two calls of its lane, and quotas of about the same supply, one inside the other and without a burst, waste
//! a little of it: what one allows at an instant the other refuses. Approximate beyond that are:
//! - a batch just above what one call serves, or just overloaded: calls are taken to be full as soon as not all get
//!   what they ask;
//! - lanes of batches that are thin at a quota they share with others: one that gets what it asks is taken to call as
//!   often as if nothing waited, but what waits, and what rides along a little before its time, saves it calls;
//! - several quotas of which some count only some resources, one inside or beside the other: in rare mixtures a part of
//!   one that stops somebody, about a tenth at most, is left over;
//! - a device's own quotas: met before all others, and each run costs as much as a full call;
//! - `aligned` by the shortest month, `adaptive` by where it starts.
//!
//! Not seen at all: `concurrent` and `errors`, which set no rate; how long calls take; holds, failures and "refresh
//! now"; and that a call which answers for a whole home refreshes all its jobs, more often than they asked.

mod answer;
mod fill;
mod gather;
mod lane;
mod meet;
mod root;
mod set;

#[cfg(test)]
mod examples;
#[cfg(test)]
mod laws;

use crate::provider::{Limit, Provider, Quota};
use crate::words::{
    ConnectionId, DeviceId, Interval, JobId, Priority, QuotaInputs, ResourceName, Scope, TenantId,
};
use fill::{Supply, Tier, fill};
use gather::gather;
use lane::Lane;
use std::collections::HashMap;

/// A share of what is asked that is as good as all of it: floating point tells no closer.
const AS_ASKED: f64 = 1.0 - 1e-9;

/// The terms of connections, where limits depend on them: of one that is not in it, nothing is known.
pub type QuotaInputsOf = HashMap<ConnectionId, QuotaInputs>;

/// What is asked for one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// The job.
    pub job: JobId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The tenant's weight among lanes, above 0; 1 is usual.
    pub weight: f64,
    /// The account it is fetched with.
    pub connection: ConnectionId,
    /// The home or site inside the account; empty for none.
    pub group: String,
    /// The device.
    pub device: DeviceId,
    /// The resource.
    pub resource: ResourceName,
    /// How often it is asked to run.
    pub interval: Interval,
    /// How much it matters.
    pub priority: Priority,
}

/// Whom a quota counts, by number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Everybody.
    App,
    /// One account.
    Connection(ConnectionId),
    /// One home of an account.
    Group(ConnectionId, String),
    /// One device.
    Device(DeviceId),
}

/// What one quota is asked for and what it gives, for one of those it counts. Costs in the provider's units.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The quota's name.
    pub quota: String,
    /// Its scope, as declared.
    pub scope: Scope,
    /// Whom it counts. A quota of groups counts a connection where a job has no group.
    pub holder: Holder,
    /// Cost a second if nothing at all were limited.
    pub demand_per_s: f64,
    /// Cost a second as planned; at most the supply.
    pub used_per_s: f64,
    /// Cost a second that it allows background syncs in the long run.
    pub supply_per_s: f64,
    /// The supply is only where an adaptive quota starts.
    pub is_assumed: bool,
    /// How many jobs get less than they asked because of it.
    pub bound_jobs: u64,
}

/// What one job gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effective {
    /// The job.
    pub job: JobId,
    /// The interval it asked, ms.
    pub asked_ms: f64,
    /// The interval it gets, ms; never below what it asked. None: it cannot be served, since its provider declares no
    /// such resource.
    pub effective_ms: Option<f64>,
    /// The load that keeps it from what it asked, by its place in [`Plan::loads`].
    pub bound_by: Option<usize>,
}

impl Effective {
    /// How many times what it asked it gets; infinite if it cannot be served.
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
    /// One for each demand, in their order.
    pub jobs: Vec<Effective>,
    /// One for each quota and each it counts, in the order of the definition; of devices, only those that bind.
    pub loads: Vec<Load>,
    /// The names of quotas that set no rate: calls in flight, errors in a row.
    pub without_rate: Vec<String>,
}

/// The effective interval of every job at a provider, with `k` and the `bases` of the score (realtime first).
///
/// Sorts the demands, then works on those that are alike at once.
pub fn plan(
    provider: &Provider,
    demands: &[Demand],
    terms: &QuotaInputsOf,
    k: f64,
    bases: &[f64; 5],
) -> Plan {
    let supplies = |scope: Scope| supplies(provider, scope, terms);
    let least = bases.iter().copied().fold(f64::INFINITY, f64::min);
    let weights = bases.map(|base| (base / least).powf(-1.0 / k));
    let (mut lanes, seats) = gather(provider, demands, &weights, supplies(Scope::Device));
    let apart = |_: &Lane, _: &Lane| false;
    let tiers = [
        Tier { supplies: supplies(Scope::App), together_below: Lane::shares_connection },
        Tier { supplies: supplies(Scope::Connection), together_below: apart },
        Tier { supplies: supplies(Scope::Group), together_below: apart },
    ];
    fill(&mut lanes, &tiers);
    answer::answer(provider, demands, terms, &lanes, &seats)
}

/// The quotas of a scope that set a rate.
fn supplies(provider: &Provider, scope: Scope, terms: &QuotaInputsOf) -> Vec<Supply> {
    let of_scope = provider.quotas().enumerate().filter(|(_, quota)| quota.scope == scope);
    of_scope
        .filter_map(|(at, quota)| {
            let per_ms_for = |terms: &QuotaInputs| per_ms(quota, terms);
            let own = terms.iter().filter(|_| quota.varies());
            Some(Supply {
                quota: at,
                per_ms: per_ms_for(&QuotaInputs::default())?,
                own: own.filter_map(|(of, terms)| Some((of.0, per_ms_for(terms)?))).collect(),
                counts: counts(provider, quota),
            })
        })
        .collect()
}

/// Cost a ms that a quota allows background syncs in the long run, on these terms; none if it sets no rate.
fn per_ms(quota: &Quota, terms: &QuotaInputs) -> Option<f64> {
    let (whole, rest) = quota.limits_for(terms);
    match rest.unwrap_or(whole) {
        Limit::Sliding { emission_ms, .. } => Some(1.0 / emission_ms),
        Limit::Aligned { amount, calendar, .. } => Some(f64::from(amount) / calendar.least_ms()),
        Limit::Adaptive { start, window_ms, .. } => Some(start / window_ms),
        Limit::Concurrent { .. } | Limit::Errors { .. } => None,
    }
}

/// Whether a quota counts a resource, by the resource's place in the definition.
fn counts(provider: &Provider, quota: &Quota) -> Vec<bool> {
    provider.resource_names().map(|name| quota.counts(name)).collect()
}
