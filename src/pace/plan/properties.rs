//! Properties of every plan.

use super::examples::{BASES, provider, quota};
use super::{Beside, Demand, Plan, QuotaInputsByConnection, plan, plan_beside};
use crate::provider::{Provider, Unit};
use crate::words::{ConnectionId, DeviceId, Interval, JobId, Priority, Scope, TenantId};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// Jobs of few connections and groups with few intervals, so that many are equal and compete.
fn demands() -> impl Strategy<Value = Vec<Demand>> {
    let one = (0..3_i64, 0..3_u8, 0..30_i64, any::<bool>(), 1..40_u64, 0..5_usize);
    prop::collection::vec(one, 1..80).prop_map(|all| {
        let job = |(at, (connection, group, device, energy, interval, priority))| Demand {
            job: JobId(at as i64),
            tenant: TenantId(connection),
            weight: 1.0 + connection as f64,
            connection: ConnectionId(connection),
            group: ["", "a", "b"][usize::from(group)].to_owned(),
            device: DeviceId(device + 100 * connection + 1_000 * i64::from(group)),
            resource: if energy { "energy" } else { "state" }.parse().unwrap(),
            interval: Interval::from_ms(500 * interval).unwrap(),
            priority: Priority::ALL[priority],
        };
        all.into_iter().enumerate().map(job).collect()
    })
}

/// Amounts per minute of a quota of the app, of a connection and of a group.
fn amounts() -> impl Strategy<Value = [u32; 3]> {
    [10_u32..2_000, 10..1_000, 10..500]
}

fn quotas(amounts: [u32; 3]) -> String {
    let scopes = ["app", "connection", "group"];
    scopes.iter().zip(amounts).map(|(scope, amount)| quota(scope, scope, amount, "1m")).collect()
}

fn runs(plan: &Plan, at: usize) -> f64 {
    plan.jobs[at].effective_ms.map_or(0.0, |ms| 1.0 / ms)
}

fn weight(demand: &Demand) -> f64 {
    1.0 / BASES[usize::from(demand.priority.class()) - 1]
}

fn lane(demand: &Demand) -> (ConnectionId, &str) {
    (demand.connection, &demand.group)
}

/// No job gets more than it asked, no quota gives more than its supply, and each job that gets less is bound by a quota
/// that is full, except for the share `unused`.
fn check_bounds(plan: &Plan, unused: f64) {
    for job in &plan.jobs {
        assert!(job.effective_ms.unwrap() >= job.asked_ms);
        assert_eq!(job.is_as_asked(), job.bound_by.is_none(), "{job:?}");
        if let Some(load) = job.bound_by {
            let load = &plan.loads[load];
            assert!(load.used_per_s > load.supply_per_s * (1.0 - unused), "{job:?} by {load:?}");
            assert!(load.demand_per_s >= load.used_per_s * (1.0 - 1e-9));
        }
    }
    for load in &plan.loads {
        assert!(load.used_per_s <= load.supply_per_s * (1.0 + 1e-6), "{load:?}");
    }
}

/// With one device per call, the sum of what the jobs get exceeds no quota, whatever the plan's loads say.
fn check_sums(provider: &Provider, demands: &[Demand], plan: &Plan) {
    for (place, quota) in provider.quotas().enumerate() {
        let mut spent: BTreeMap<(i64, &str), f64> = BTreeMap::new();
        for (at, demand) in demands.iter().enumerate().filter(|(_, d)| quota.counts(&d.resource)) {
            let holder = match quota.scope {
                Scope::App => (0, ""),
                Scope::Connection => (demand.connection.0, ""),
                Scope::Group => (demand.connection.0, demand.group.as_str()),
                Scope::Device => (demand.device.0, ""),
            };
            *spent.entry(holder).or_default() += runs(plan, at);
        }
        let per_ms = f64::from(quota.least()) / 60_000.0;
        assert!(spent.values().all(|spent| *spent <= per_ms * (1.0 + 1e-6)), "quota {place}: {spent:?}");
    }
}

/// Max-min fairness: no limited job could get more without taking it from a job of its lane, or from a lane, that has
/// no more per weight.
fn check_max_min(demands: &[Demand], plan: &Plan, across: bool) {
    let mut lanes: BTreeMap<_, f64> = BTreeMap::new();
    for (at, demand) in demands.iter().enumerate() {
        *lanes.entry(lane(demand)).or_default() += runs(plan, at) / demand.weight;
    }
    for (at, poor) in demands.iter().enumerate() {
        let Some(load) = plan.jobs[at].bound_by.map(|load| &plan.loads[load]) else { continue };
        for (other, rich) in demands.iter().enumerate() {
            let counted = load.quota != "energy" || rich.resource.as_str() == "energy";
            if lane(rich) == lane(poor) && counted {
                let (theirs, ours) = (runs(plan, other) / weight(rich), runs(plan, at) / weight(poor));
                assert!(
                    theirs <= ours * (1.0 + 1e-6),
                    "{rich:?} has {theirs}, {poor:?} only {ours} per weight"
                );
            }
            let shares = load.scope == Scope::App
                || (load.scope == Scope::Connection && rich.connection == poor.connection);
            if across && shares {
                assert!(lanes[&lane(rich)] <= lanes[&lane(poor)] * (1.0 + 1e-6), "{rich:?}, {poor:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn plan_is_feasible_and_max_min_fair(demands in demands(), amounts in amounts()) {
        let provider = provider(&quotas(amounts), "");
        let plan = plan(&provider, &demands, &QuotaInputsByConnection::new(), 1.0, &BASES);
        check_bounds(&plan, 1e-6);
        check_sums(&provider, &demands, &plan);
        check_max_min(&demands, &plan, true);
    }

    #[test]
    fn plan_with_quotas_of_some_resources_is_feasible_and_fair(
        demands in demands(),
        amounts in amounts(),
        scope in prop::sample::select(vec!["app", "connection", "group"]),
        energy in 1_u32..200,
    ) {
        let some = quota("energy", scope, energy, "1m") + "resources = [\"energy\"]\n";
        let provider = provider(&(some + &quotas(amounts)), "");
        let plan = plan(&provider, &demands, &QuotaInputsByConnection::new(), 1.0, &BASES);
        check_bounds(&plan, 0.5);
        check_sums(&provider, &demands, &plan);
        check_max_min(&demands, &plan, false);
    }

    #[test]
    fn quotas_of_devices_are_kept(demands in demands(), amounts in amounts(), own in 1_u32..30) {
        let provider = provider(&(quota("device", "device", own, "1m") + &quotas(amounts)), "");
        let plan = plan(&provider, &demands, &QuotaInputsByConnection::new(), 1.0, &BASES);
        check_sums(&provider, &demands, &plan);
        prop_assert!(plan.jobs.iter().all(|job| job.effective_ms.unwrap() >= job.asked_ms));
    }

    #[test]
    fn calls_for_several_devices_keep_every_quota(
        demands in demands(),
        amounts in amounts(),
        unit in prop::sample::select(vec![Unit::Batch, Unit::Group]),
        batch_max in 2_u32..20,
        (cost, per_device) in (1_u32..4, 0_u32..3),
    ) {
        let unit = match unit {
            Unit::Batch => format!("unit = \"batch\"\nbatch_max = {batch_max}"),
            _ => format!("unit = \"group\"\nbatch_max = {batch_max}"),
        };
        let state = format!("{unit}\ncost = {cost}\ncost_per_device = {per_device}");
        // The burst must admit a full call.
        let quotas = quotas(amounts.map(|a| a + 45)).replace("headroom", "burst = 45\nheadroom");
        check_bounds(&plan(&provider(&quotas, &state), &demands, &QuotaInputsByConnection::new(), 1.0, &BASES), 1e-6);
    }

    #[test]
    fn equal_jobs_get_equal_intervals(demands in demands(), amounts in amounts()) {
        let provider = provider(&quotas(amounts), "");
        let plan = plan(&provider, &demands, &QuotaInputsByConnection::new(), 1.0, &BASES);
        let mut known = BTreeMap::new();
        for (at, d) in demands.iter().enumerate() {
            let same = known.entry((lane(d), d.resource.clone(), d.interval, d.priority)).or_insert(runs(&plan, at));
            prop_assert_eq!(*same, runs(&plan, at));
        }
    }

    #[test]
    fn larger_app_quota_reduces_no_job(demands in demands(), amounts in amounts(), more in 1_u32..500) {
        let [app, connection, group] = amounts;
        let no_inputs = QuotaInputsByConnection::new();
        let plan = |amounts| plan(&provider(&quotas(amounts), ""), &demands, &no_inputs, 1.0, &BASES);
        let (before, after) = (plan(amounts), plan([app + more, connection, group]));
        for at in 0..demands.len() {
            prop_assert!(runs(&after, at) >= runs(&before, at) * (1.0 - 1e-6));
        }
    }

    #[test]
    fn connection_gets_beside_others_what_it_gets_among_them(
        demands in demands(),
        amounts in amounts(),
        own in 1_u32..60,
        changed in 0..3_i64,
    ) {
        let provider = provider(&(quota("device", "device", own, "1m") + &quotas(amounts)), "");
        let (inputs, k) = (QuotaInputsByConnection::new(), 1.0);
        let among = plan(&provider, &demands, &inputs, k, &BASES);
        let changed = ConnectionId(changed);
        // What was asked before the change does not matter.
        let mut before = demands.clone();
        before.iter_mut().filter(|d| d.connection == changed).for_each(|d| d.interval = Interval::MAX);
        let others = Beside::of(&provider, &before, &inputs, k, &BASES).without(&HashSet::from([changed]));
        let (places, theirs): (Vec<usize>, Vec<Demand>) =
            demands.iter().cloned().enumerate().filter(|(_, d)| d.connection == changed).unzip();
        let beside = plan_beside(others, &provider, &theirs, &inputs, k, &BASES);
        for (at, place) in places.into_iter().enumerate() {
            let (found, whole) = (runs(&beside, at), runs(&among, place));
            prop_assert!((found / whole - 1.0).abs() < 1e-6, "{found} beside, {whole} among");
            let quota = |plan: &Plan, at: usize| plan.jobs[at].bound_by.map(|load| plan.loads[load].quota.clone());
            prop_assert_eq!(quota(&beside, at), quota(&among, place));
        }
    }
}
