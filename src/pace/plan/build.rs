//! Builds lanes of job sets from the demands.

use super::Demand;
use super::fill::{Supply, Tier, fill};
use super::grid::instants_per_ms;
use super::lane::Lane;
use super::set::{EqualJobs, JobSet};
use crate::provider::{Provider, Resource, Unit};
use crate::words::{DeviceId, ResourceName};

/// Lower bound of a weight, relative to the most urgent priority's: a large ratio of bases and a small k have no bound.
const WEIGHT_MIN: f64 = 1e-9;

/// A job's place in the lanes.
pub(super) struct Placement {
    /// Index of its demand.
    pub demand: usize,
    /// Index of its lane.
    pub lane: usize,
    /// Index of its set in the lane.
    pub set: usize,
    /// The weight of its priority.
    pub weight: f64,
    /// Upper bound of runs per ms: what was asked, within its device's own quotas.
    pub runs_max: f64,
    /// The device's quota that allows less than was asked, by its index in the definition.
    pub device_quota: Option<usize>,
}

/// The cost of a set's calls.
struct CallCost {
    per_call: f64,
    per_job: f64,
    batch_max: f64,
}

impl CallCost {
    fn of(resource: &Resource, jobs: usize) -> Self {
        let (cost, per_device) = (f64::from(resource.cost_per_call()), f64::from(resource.cost_per_device));
        match resource.unit {
            Unit::Device => Self { per_call: cost + per_device, per_job: 0.0, batch_max: 1.0 },
            Unit::Batch => {
                Self { per_call: cost, per_job: per_device, batch_max: f64::from(resource.places()) }
            }
            // Every call includes all jobs, due or not.
            Unit::Group | Unit::Connection => {
                Self { per_call: cost + per_device * jobs as f64, per_job: 0.0, batch_max: f64::INFINITY }
            }
        }
    }

    /// The cost that a device's own quota counts: it counts whole calls.
    fn full_call_cost(&self, jobs: usize) -> f64 {
        self.per_call + self.per_job * self.batch_max.min(jobs as f64)
    }
}

/// The lanes, and the placement of every job. Jobs whose resource is not declared have none.
pub(super) fn build_lanes(
    provider: &Provider,
    demands: &[Demand],
    weights: &[f64; 5],
    device_supplies: Vec<Supply>,
) -> (Vec<Lane>, Vec<Placement>) {
    let resources: Vec<(&ResourceName, &Resource)> =
        provider.definition.resources.iter().map(|(name, r)| (name.get_ref(), r.get_ref())).collect();
    let index = |name: &ResourceName| resources.iter().position(|(declared, _)| *declared == name);
    let mut order: Vec<(usize, usize)> =
        demands.iter().enumerate().filter_map(|(at, demand)| Some((index(&demand.resource)?, at))).collect();
    let key = |(resource, at): &(usize, usize)| {
        let demand = &demands[*at];
        (demand.connection, demand.group.as_str(), *resource, demand.device)
    };
    order.sort_unstable_by(|a, b| key(a).cmp(&key(b)));

    let mut placements: Vec<Placement> = Vec::with_capacity(order.len());
    let mut call_costs = Vec::new();
    let same_lane = |a: &(usize, usize), b: &(usize, usize)| (key(a).0, key(a).1) == (key(b).0, key(b).1);
    for (lane, jobs) in order.chunk_by(same_lane).enumerate() {
        for (set, jobs) in jobs.chunk_by(|a, b| a.0 == b.0).enumerate() {
            call_costs.push(CallCost::of(resources[jobs[0].0].1, jobs.len()));
            placements.extend(jobs.iter().map(|(_, at)| {
                let demand = &demands[*at];
                let weight = weights[usize::from(demand.priority.class()) - 1].max(WEIGHT_MIN);
                let runs_max = 1.0 / demand.interval.as_ms() as f64;
                Placement { demand: *at, lane, set, weight, runs_max, device_quota: None }
            }));
        }
    }
    if !device_supplies.is_empty() {
        let sets = placements.chunk_by(|a, b| (a.lane, a.set) == (b.lane, b.set));
        let costs: Vec<f64> = sets
            .zip(&call_costs)
            .flat_map(|(jobs, call_cost)| {
                std::iter::repeat_n(call_cost.full_call_cost(jobs.len()), jobs.len())
            })
            .collect();
        let resources: Vec<usize> = order.iter().map(|(resource, _)| *resource).collect();
        cap_by_device(demands, &mut placements, &costs, &resources, device_supplies);
    }

    let mut lanes: Vec<Lane> = Vec::new();
    let sets = placements.chunk_by(|a, b| (a.lane, a.set) == (b.lane, b.set));
    let firsts = order.chunk_by(|a, b| same_lane(a, b) && a.0 == b.0).map(|jobs| jobs[0]);
    for ((jobs, call_cost), (resource, first)) in sets.zip(&call_costs).zip(firsts) {
        let demand = &demands[first];
        if jobs[0].set == 0 {
            let (connection, weight) = (demand.connection.0, demand.weight);
            lanes.push(Lane { first: Some(first), connection, weight, sets: Vec::new() });
        }
        let calls = unlimited_calls(demands, jobs, resources[resource].1);
        let cost = (call_cost.per_call, call_cost.per_job);
        let mut set = JobSet::new(resource, cost, call_cost.batch_max, equal_jobs(jobs), calls);
        let runs: f64 =
            jobs.iter().map(|placement| 1.0 / demands[placement.demand].interval.as_ms() as f64).sum();
        set.asked = calls * call_cost.per_call + runs * call_cost.per_job;
        if let Some(lane) = lanes.last_mut() {
            lane.sets.push(set);
        }
    }
    (lanes, placements)
}

/// Counts the jobs by weight and rate.
fn equal_jobs(jobs: &[Placement]) -> Vec<EqualJobs> {
    let mut all: Vec<(f64, f64)> =
        jobs.iter().map(|placement| (placement.weight, placement.runs_max)).collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    all.chunk_by(|a, b| a == b)
        .map(|same| EqualJobs { weight: same[0].0, runs_max: same[0].1, count: same.len() as f64 })
        .collect()
}

/// Calls per ms without a backlog: one for all jobs due at one instant. The jobs must be ordered by device.
fn unlimited_calls(demands: &[Demand], jobs: &[Placement], resource: &Resource) -> f64 {
    let interval_ms = |placement: &Placement| demands[placement.demand].interval.as_ms();
    // Which jobs share a grid: must agree with `schedule::offset_ms`.
    let per_grid = match resource.unit {
        Unit::Device => return jobs.iter().map(|placement| 1.0 / interval_ms(placement) as f64).sum(),
        Unit::Batch => i64::from(resource.places().max(1)),
        Unit::Group | Unit::Connection => {
            return instants_per_ms(&mut jobs.iter().map(interval_ms).collect());
        }
    };
    let grid = |placement: &Placement| demands[placement.demand].device.0 / per_grid;
    jobs.chunk_by(|a, b| grid(a) == grid(b))
        .map(|sharing| instants_per_ms(&mut sharing.iter().map(interval_ms).collect()))
        .sum()
}

/// Lowers each job's `runs_max` to what the quotas of its device allow, as if there were no other quotas.
fn cap_by_device(
    demands: &[Demand],
    placements: &mut [Placement],
    costs: &[f64],
    resources: &[usize],
    supplies: Vec<Supply>,
) {
    let tiers = [Tier { supplies, shared_below: |_, _| false }];
    let mut order: Vec<_> =
        placements.iter().enumerate().map(|(at, placement)| (demands[placement.demand].device, at)).collect();
    order.sort_unstable();
    for jobs in order.chunk_by(|a, b| a.0 == b.0) {
        let set = |(_, at): &(DeviceId, usize)| {
            let Placement { weight, runs_max, .. } = placements[*at];
            JobSet::new(
                resources[*at],
                (costs[*at], 0.0),
                1.0,
                vec![EqualJobs { weight, runs_max, count: 1.0 }],
                runs_max,
            )
        };
        let connection = jobs.first().map_or(0, |(_, at)| demands[placements[*at].demand].connection.0);
        let mut device =
            [Lane { first: None, connection, weight: 1.0, sets: jobs.iter().map(set).collect() }];
        fill(&mut device, &tiers);
        for ((_, at), set) in jobs.iter().zip(&device[0].sets) {
            let placement = &mut placements[*at];
            let allowed = set.allocation().runs(placement.weight, placement.runs_max);
            if allowed < placement.runs_max * super::AS_ASKED {
                (placement.runs_max, placement.device_quota) = (allowed, set.capped_by);
            }
        }
    }
}
