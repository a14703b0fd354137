//! Turns the final levels into the plan: what each job gets and what each quota gives.

use super::build::Placement;
use super::lane::Lane;
use super::set::JobSet;
use super::{AS_ASKED, Demand, Effective, Holder, Load, Plan, QuotaInputsByConnection, counts, per_ms};
use crate::provider::{Provider, Quota, QuotaKind};
use crate::words::{ConnectionId, DeviceId, QuotaInputs, Scope};
use std::collections::HashMap;

const MS_PER_S: f64 = 1_000.0;

/// The loads of one lane by quota index; none where the quota counts nothing of the lane.
type Row = Vec<Option<usize>>;

pub(super) fn report(
    provider: &Provider,
    demands: &[Demand],
    inputs: &QuotaInputsByConnection,
    lanes: &[Lane],
    placements: &[Placement],
) -> Plan {
    let unknown = QuotaInputs::default();
    let inputs_of = |connection: ConnectionId| inputs.get(&connection).unwrap_or(&unknown);
    let quotas: Vec<&Quota> = provider.quotas().collect();
    let without_rate = quotas.iter().filter(|quota| per_ms(quota, &unknown).is_none());
    let mut plan =
        Plan { without_rate: without_rate.map(|quota| quota.name.clone()).collect(), ..Plan::default() };
    let mut rows: Vec<Row> = vec![vec![None; quotas.len()]; lanes.len()];
    for (at, quota) in quotas.iter().enumerate().filter(|(_, quota)| quota.scope != Scope::Device) {
        if per_ms(quota, &unknown).is_none() {
            continue;
        }
        let counts = counts(provider, quota);
        let mut rows = rows.as_mut_slice();
        for part in lanes.chunk_by(|a, b| shares(quota.scope, a, b)) {
            let (of_part, rest) = rows.split_at_mut(part.len());
            rows = rest;
            let inputs = inputs_of(ConnectionId(part[0].connection));
            let per_ms = per_ms(quota, inputs).unwrap_or_default();
            if let Some(load) = load(quota, per_ms, part, &counts, demands) {
                of_part.iter_mut().for_each(|row| row[at] = Some(plan.loads.len()));
                plan.loads.push(load);
            }
        }
    }
    let unserved = |demand: &Demand| Effective {
        job: demand.job,
        asked_ms: demand.interval.as_ms() as f64,
        effective_ms: None,
        bound_by: None,
    };
    plan.jobs = demands.iter().map(unserved).collect();
    let mut devices = Devices::default();
    for jobs in placements.chunk_by(|a, b| (a.lane, a.set) == (b.lane, b.set)) {
        let set = &lanes[jobs[0].lane].sets[jobs[0].set];
        let allocation = set.allocation();
        for placement in jobs {
            let runs = allocation.runs(placement.weight, placement.runs_max);
            let Demand { device, connection, .. } = demands[placement.demand];
            let (effective_ms, bound_by) = if runs < placement.runs_max * AS_ASKED {
                (Some(1.0 / runs), set.capped_by.and_then(|quota| rows[placement.lane][quota]))
            } else if let Some(quota) = placement.device_quota {
                (
                    Some(1.0 / runs),
                    Some(devices.load(
                        quota,
                        device,
                        (quotas[quota], inputs_of(connection)),
                        &mut plan.loads,
                    )),
                )
            } else {
                (Some(plan.jobs[placement.demand].asked_ms), None)
            };
            let job = &mut plan.jobs[placement.demand];
            (job.effective_ms, job.bound_by) = (effective_ms, bound_by);
            if let Some(load) = bound_by {
                plan.loads[load].bound_jobs += 1;
            }
        }
    }
    devices.add_up(provider, demands, lanes, placements, &mut plan);
    plan
}

fn shares(scope: Scope, a: &Lane, b: &Lane) -> bool {
    match scope {
        Scope::App => true,
        Scope::Connection => a.shares_connection(b),
        Scope::Group | Scope::Device => false,
    }
}

/// The load of a quota that these lanes share; none if it counts nothing of theirs, or no job of theirs is reported.
fn load(quota: &Quota, per_ms: f64, lanes: &[Lane], counts: &[bool], demands: &[Demand]) -> Option<Load> {
    let sets = || lanes.iter().flat_map(|lane| &lane.sets).filter(|set| counts[set.resource]);
    let reported = lanes.iter().filter(|lane| lane.sets.iter().any(|set| counts[set.resource]));
    let holder = holder(quota.scope, &demands[reported.filter_map(|lane| lane.first).next()?]);
    let sum = |cost: fn(&JobSet) -> f64| MS_PER_S * sets().map(cost).sum::<f64>();
    Some(Load {
        demand_per_s: sum(|set| set.asked),
        used_per_s: sum(|set| set.cost(f64::INFINITY)),
        ..idle(quota, per_ms, holder)
    })
}

fn idle(quota: &Quota, per_ms: f64, holder: Holder) -> Load {
    Load {
        quota: quota.name.clone(),
        scope: quota.scope,
        holder,
        demand_per_s: 0.0,
        used_per_s: 0.0,
        supply_per_s: per_ms * MS_PER_S,
        is_assumed: quota.kind == QuotaKind::Adaptive,
        bound_jobs: 0,
    }
}

fn holder(scope: Scope, demand: &Demand) -> Holder {
    match scope {
        Scope::App => Holder::App,
        Scope::Group if !demand.group.is_empty() => Holder::Group(demand.connection, demand.group.clone()),
        Scope::Connection | Scope::Group => Holder::Connection(demand.connection),
        Scope::Device => Holder::Device(demand.device),
    }
}

/// The loads of devices' own quotas. Only those that bind are listed: most never do.
#[derive(Default)]
struct Devices(HashMap<(usize, DeviceId), usize>);

impl Devices {
    /// The index of its load, added if new.
    fn load(
        &mut self,
        quota: usize,
        device: DeviceId,
        (declared, inputs): (&Quota, &QuotaInputs),
        loads: &mut Vec<Load>,
    ) -> usize {
        *self.0.entry((quota, device)).or_insert_with(|| {
            loads.push(idle(declared, per_ms(declared, inputs).unwrap_or_default(), Holder::Device(device)));
            loads.len() - 1
        })
    }

    /// Adds what all jobs of these devices ask of their quotas and spend.
    fn add_up(
        &self,
        provider: &Provider,
        demands: &[Demand],
        lanes: &[Lane],
        placements: &[Placement],
        plan: &mut Plan,
    ) {
        let counts: Vec<Vec<bool>> = provider.quotas().map(|quota| counts(provider, quota)).collect();
        for placement in placements.iter().filter(|_| !self.0.is_empty()) {
            let set = &lanes[placement.lane].sets[placement.set];
            let job = plan.jobs[placement.demand];
            for quota in (0..counts.len()).filter(|quota| counts[*quota][set.resource]) {
                if let Some(load) = self.0.get(&(quota, demands[placement.demand].device)) {
                    let load = &mut plan.loads[*load];
                    load.demand_per_s += MS_PER_S * set.full_call_cost() / job.asked_ms;
                    load.used_per_s +=
                        job.effective_ms.map_or(0.0, |ms| MS_PER_S * set.full_call_cost() / ms);
                }
            }
        }
    }
}
