//! From what is asked, job by job, to lanes of sets of jobs that are alike.

use super::Demand;
use super::fill::{Supply, Tier, fill};
use super::lane::Lane;
use super::meet::instants_per_ms;
use super::set::{Alike, Set};
use crate::provider::{Provider, Resource, Unit};
use crate::words::{DeviceId, ResourceName};

/// So much less than the most urgent priority's is no weight: a large ratio of bases and a small k have no bound.
const WEIGHT_MIN: f64 = 1e-9;

/// Where a job stands.
pub(super) struct Seat {
    /// Its demand, by its place.
    pub demand: usize,
    /// Its lane, by its place.
    pub lane: usize,
    /// Its set in the lane, by its place.
    pub set: usize,
    /// Its priority's weight.
    pub weight: f64,
    /// The most runs a ms that are asked and that its device's own quotas allow.
    pub most: f64,
    /// The device's quota that allows less than is asked, by its place in the definition.
    pub by: Option<usize>,
}

/// How the calls of a set cost.
struct Shape {
    per_call: f64,
    per_job: f64,
    batch_max: f64,
}

impl Shape {
    fn of(resource: &Resource, jobs: usize) -> Self {
        let (cost, per_device) = (f64::from(resource.cost_per_call()), f64::from(resource.cost_per_device));
        match resource.unit {
            Unit::Device => Self { per_call: cost + per_device, per_job: 0.0, batch_max: 1.0 },
            Unit::Batch => {
                Self { per_call: cost, per_job: per_device, batch_max: f64::from(resource.batch_max) }
            }
            // All of them are in every call, due or not.
            Unit::Group | Unit::Connection => {
                Self { per_call: cost + per_device * jobs as f64, per_job: 0.0, batch_max: f64::INFINITY }
            }
        }
    }

    /// A quota of one device counts the whole call that it is in.
    fn full_call(&self, jobs: usize) -> f64 {
        self.per_call + self.per_job * self.batch_max.min(jobs as f64)
    }
}

/// The lanes, and where every job stands; those whose resource is not declared stand nowhere.
pub(super) fn gather(
    provider: &Provider,
    demands: &[Demand],
    weights: &[f64; 5],
    device_supplies: Vec<Supply>,
) -> (Vec<Lane>, Vec<Seat>) {
    let resources: Vec<(&ResourceName, &Resource)> =
        provider.definition.resources.iter().map(|(name, r)| (name.get_ref(), r.get_ref())).collect();
    let place = |name: &ResourceName| resources.iter().position(|(known, _)| *known == name);
    let mut order: Vec<(usize, usize)> =
        demands.iter().enumerate().filter_map(|(at, demand)| Some((place(&demand.resource)?, at))).collect();
    let key = |(resource, at): &(usize, usize)| {
        let demand = &demands[*at];
        (demand.connection, demand.group.as_str(), *resource, demand.device)
    };
    order.sort_unstable_by(|a, b| key(a).cmp(&key(b)));

    let mut seats: Vec<Seat> = Vec::with_capacity(order.len());
    let mut shapes = Vec::new();
    let together = |a: &(usize, usize), b: &(usize, usize)| (key(a).0, key(a).1) == (key(b).0, key(b).1);
    for (lane, jobs) in order.chunk_by(together).enumerate() {
        for (set, jobs) in jobs.chunk_by(|a, b| a.0 == b.0).enumerate() {
            shapes.push(Shape::of(resources[jobs[0].0].1, jobs.len()));
            seats.extend(jobs.iter().map(|(_, at)| {
                let demand = &demands[*at];
                let weight = weights[usize::from(demand.priority.class()) - 1].max(WEIGHT_MIN);
                let most = 1.0 / demand.interval.as_ms() as f64;
                Seat { demand: *at, lane, set, weight, most, by: None }
            }));
        }
    }
    if !device_supplies.is_empty() {
        let sets = seats.chunk_by(|a, b| (a.lane, a.set) == (b.lane, b.set));
        let costs: Vec<f64> = sets
            .zip(&shapes)
            .flat_map(|(jobs, shape)| std::iter::repeat_n(shape.full_call(jobs.len()), jobs.len()))
            .collect();
        let kinds: Vec<usize> = order.iter().map(|(resource, _)| *resource).collect();
        cap_by_device(demands, &mut seats, &costs, &kinds, device_supplies);
    }

    let mut lanes: Vec<Lane> = Vec::new();
    let sets = seats.chunk_by(|a, b| (a.lane, a.set) == (b.lane, b.set));
    let firsts = order.chunk_by(|a, b| together(a, b) && a.0 == b.0).map(|jobs| jobs[0]);
    for ((jobs, shape), (resource, first)) in sets.zip(&shapes).zip(firsts) {
        let demand = &demands[first];
        if jobs[0].set == 0 {
            let (connection, weight) = (demand.connection.0, demand.weight);
            lanes.push(Lane { first, connection, weight, sets: Vec::new() });
        }
        let free = free_calls(demands, jobs, resources[resource].1);
        let cost = (shape.per_call, shape.per_job);
        let mut set = Set::new(resource, cost, shape.batch_max, alike(jobs), free);
        let runs: f64 = jobs.iter().map(|seat| 1.0 / demands[seat.demand].interval.as_ms() as f64).sum();
        set.asked = free * shape.per_call + runs * shape.per_job;
        if let Some(lane) = lanes.last_mut() {
            lane.sets.push(set);
        }
    }
    (lanes, seats)
}

/// Jobs by weight and rate, counted.
fn alike(jobs: &[Seat]) -> Vec<Alike> {
    let mut all: Vec<(f64, f64)> = jobs.iter().map(|seat| (seat.weight, seat.most)).collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    all.chunk_by(|a, b| a == b)
        .map(|same| Alike { weight: same[0].0, most: same[0].1, count: same.len() as f64 })
        .collect()
}

/// Calls a ms where nothing waits: one for all that meet. The jobs stand in order of their devices.
fn free_calls(demands: &[Demand], jobs: &[Seat], resource: &Resource) -> f64 {
    let interval_ms = |seat: &Seat| demands[seat.demand].interval.as_ms();
    // As `schedule::offset_ms` has it: which jobs are on one grid.
    let per_grid = match resource.unit {
        Unit::Device => return jobs.iter().map(|seat| 1.0 / interval_ms(seat) as f64).sum(),
        Unit::Batch => i64::from(resource.batch_max.max(1)),
        Unit::Group | Unit::Connection => {
            return instants_per_ms(&mut jobs.iter().map(interval_ms).collect());
        }
    };
    let grid = |seat: &Seat| demands[seat.demand].device.0 / per_grid;
    jobs.chunk_by(|a, b| grid(a) == grid(b))
        .map(|meeting| instants_per_ms(&mut meeting.iter().map(interval_ms).collect()))
        .sum()
}

/// Lowers what a job may have to what the quotas of its device leave it, as if there were no others.
fn cap_by_device(
    demands: &[Demand],
    seats: &mut [Seat],
    costs: &[f64],
    kinds: &[usize],
    supplies: Vec<Supply>,
) {
    let tiers = [Tier { supplies, together_below: |_, _| false }];
    let mut order: Vec<_> =
        seats.iter().enumerate().map(|(at, seat)| (demands[seat.demand].device, at)).collect();
    order.sort_unstable();
    for jobs in order.chunk_by(|a, b| a.0 == b.0) {
        let set = |(_, at): &(DeviceId, usize)| {
            let Seat { weight, most, .. } = seats[*at];
            Set::new(kinds[*at], (costs[*at], 0.0), 1.0, vec![Alike { weight, most, count: 1.0 }], most)
        };
        let connection = jobs.first().map_or(0, |(_, at)| demands[seats[*at].demand].connection.0);
        let mut device = [Lane { first: 0, connection, weight: 1.0, sets: jobs.iter().map(set).collect() }];
        fill(&mut device, &tiers);
        for ((_, at), set) in jobs.iter().zip(&device[0].sets) {
            let seat = &mut seats[*at];
            let left = set.served().runs(seat.weight, seat.most);
            if left < seat.most * super::AS_ASKED {
                (seat.most, seat.by) = (left, set.by);
            }
        }
    }
}
