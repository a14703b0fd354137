//! Small cases with results computed by hand.

use super::{Demand, Holder, Plan, plan};
use crate::provider::Provider;
use crate::words::{ConnectionId, DeviceId, JobId, Priority, TenantId};

pub(super) const BASES: [f64; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];

/// A provider with these quotas, and resources `state` (with these keys) and `energy` (one device per call, cost 1).
pub(super) fn provider(quotas: &str, state: &str) -> Provider {
    let common = "interval_min = \"100ms\"\ninterval_default = \"1m\"\npath = \"/\"\nrecords = \".\"\n";
    let text = format!(
        "title = \"T\"\n[http]\nbase_url = \"http://x\"\n{quotas}\n[resource.state]\n{common}{state}\n\
         [resource.energy]\n{common}"
    );
    Provider::parse("t".parse().unwrap(), "t.toml", &text).unwrap()
}

/// A sliding quota without headroom: exactly its amount in its window.
pub(super) fn quota(name: &str, scope: &str, amount: u32, window: &str) -> String {
    format!(
        "[[quota]]\nname = \"{name}\"\nscope = \"{scope}\"\namount = {amount}\nwindow = \"{window}\"\nheadroom = 0.0\n"
    )
}

/// `count` jobs, each of its own device, numbered from 1000 times the connection.
fn jobs(connection: i64, count: i64, interval: &str, priority: Priority) -> Vec<Demand> {
    let job = |n: i64| Demand {
        job: JobId(n),
        tenant: TenantId(1),
        weight: 1.0,
        connection: ConnectionId(connection),
        group: String::new(),
        device: DeviceId(n),
        resource: "state".parse().unwrap(),
        interval: interval.parse().unwrap(),
        priority,
    };
    (connection * 1_000..connection * 1_000 + count).map(job).collect()
}

fn solve(provider: &Provider, parts: &[Vec<Demand>]) -> Plan {
    plan(provider, &parts.concat(), &Default::default(), 1.0, &BASES)
}

/// The effective interval of a job in seconds.
fn seconds(plan: &Plan, at: usize) -> f64 {
    plan.jobs[at].effective_ms.unwrap() / 1_000.0
}

fn near(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 1e-6
}

#[test]
fn demand_above_quota_stretches_intervals() {
    // 500 calls per hour are one per 7.2 s. Three slow jobs use 3/300 calls per s, the six others share the rest:
    // 6 / (1/7.2 − 3/300) = 46.55 s.
    let provider = provider(&quota("hour", "connection", 500, "1h"), "");
    let mut all = jobs(3, 9, "30s", Priority::Normal);
    all[6..].iter_mut().for_each(|job| job.interval = "5m".parse().unwrap());
    let plan = solve(&provider, &[all]);
    assert!(near(seconds(&plan, 0), 6.0 / (1.0 / 7.2 - 0.01)) && near(seconds(&plan, 6), 300.0));
    let load = &plan.loads[plan.jobs[0].bound_by.unwrap()];
    assert_eq!((load.quota.as_str(), &load.holder), ("hour", &Holder::Connection(ConnectionId(3))));
    assert_eq!((load.bound_jobs, plan.jobs[6].bound_by), (6, None));
    assert!(near(load.demand_per_s, 0.21) && near(load.supply_per_s, 1.0 / 7.2));
    assert!(near(load.used_per_s, load.supply_per_s));
}

#[test]
fn priorities_share_by_base_and_k() {
    let provider = provider(&quota("second", "connection", 3, "1s"), "");
    // Bases 2 and 4, k = 1: twice as often. 3 calls per s for 10 jobs of each: 0.2 and 0.1.
    let parts = [jobs(1, 10, "1s", Priority::High), jobs(1, 10, "1s", Priority::Normal)];
    let plan = solve(&provider, &parts);
    assert!(near(seconds(&plan, 0), 5.0) && near(seconds(&plan, 10), 10.0));
    // k = 2: √2 as often.
    let plan = super::plan(&provider, &parts.concat(), &Default::default(), 2.0, &BASES);
    assert!(near(seconds(&plan, 10) / seconds(&plan, 0), 2.0_f64.sqrt()));
}

#[test]
fn lanes_share_the_app_quota_by_weight_and_reuse_what_one_leaves() {
    let provider = provider(&(quota("app", "app", 12, "1s") + &quota("second", "connection", 5, "1s")), "");
    let heavy: Vec<_> =
        jobs(2, 100, "1s", Priority::Low).into_iter().map(|job| Demand { weight: 3.0, ..job }).collect();
    // Connection 1 asks 1 call per s. 2 would get 3/4 of the other 11, but its own quota allows 5. This leaves 6 for 3,
    // whose own quota allows 5 too, and 1 for 4, which asks more.
    let parts = [jobs(1, 1, "1s", Priority::Background), heavy, jobs(3, 100, "1s", Priority::Normal)];
    let plan = solve(&provider, &parts);
    assert!(near(seconds(&plan, 0), 1.0) && near(seconds(&plan, 1), 20.0) && near(seconds(&plan, 101), 20.0));

    let parts = [parts.concat(), jobs(4, 10, "1s", Priority::Normal)];
    let plan = solve(&provider, &parts);
    // 3 and 4 now share 6 equally.
    assert!(near(seconds(&plan, 1), 20.0) && near(seconds(&plan, 101), 100.0 / 3.0));
    assert!(near(seconds(&plan, 201), 10.0 / 3.0));
    let bound = |at: usize| plan.loads[plan.jobs[at].bound_by.unwrap()].quota.as_str();
    assert_eq!((bound(1), bound(101)), ("second", "app"));
}

#[test]
fn groups_of_a_connection_are_separate_lanes() {
    let provider =
        provider(&(quota("home", "group", 1, "1s") + &quota("account", "connection", 3, "1s")), "");
    let home = |name: &str, from: i64, count| -> Vec<Demand> {
        let all = jobs(1, 100, "1s", Priority::Normal).into_iter().skip(from as usize).take(count);
        all.map(|job| Demand { group: name.to_owned(), ..job }).collect()
    };
    // The connection's 3 suffice for 1 per group; with a fourth group each gets 3/4.
    let three = [home("a", 0, 10), home("b", 20, 20), home("c", 50, 2)];
    let plan = solve(&provider, &three);
    assert!(near(seconds(&plan, 0), 10.0) && near(seconds(&plan, 10), 20.0) && near(seconds(&plan, 30), 2.0));
    assert_eq!(
        plan.loads[plan.jobs[0].bound_by.unwrap()].holder,
        Holder::Group(ConnectionId(1), "a".to_owned())
    );
    let plan = solve(&provider, &[three.concat(), home("", 60, 3)]);
    assert!(near(seconds(&plan, 0), 40.0 / 3.0) && near(seconds(&plan, 32), 4.0));
    assert_eq!(plan.loads[plan.jobs[32].bound_by.unwrap()].quota, "account");
    assert!(
        plan.loads
            .iter()
            .any(|load| load.quota == "home" && load.holder == Holder::Connection(ConnectionId(1)))
    );
}

#[test]
fn quota_of_one_resource_does_not_limit_another() {
    let limited = quota("energy", "connection", 1, "10s") + "resources = [\"energy\"]\n";
    let provider = provider(&(limited + &quota("all", "connection", 2, "1s")), "");
    let energy: Vec<_> = jobs(1, 5, "10s", Priority::Normal)
        .into_iter()
        .map(|job| Demand { resource: "energy".parse().unwrap(), ..job })
        .collect();
    // Energy gets its 0.1 calls per s, which leaves 1.9 for ten jobs that ask 10 each.
    let plan = solve(&provider, &[energy, jobs(1, 10, "100ms", Priority::Normal)]);
    assert!(near(seconds(&plan, 0), 50.0) && near(seconds(&plan, 5), 10.0 / 1.9));
    let bound = |at: usize| plan.loads[plan.jobs[at].bound_by.unwrap()].quota.as_str();
    assert_eq!((bound(0), bound(5)), ("energy", "all"));
}

#[test]
fn batches_fill_up_under_overload() {
    let batch = "unit = \"batch\"\nbatch_max = 20\ncost = 1";
    let provider = |amount| provider(&quota("minute", "connection", amount, "1m"), batch);
    // Devices 1000 … 1039 are two batches, each with its own due instant: 12 calls per minute for 10 s.
    let plan = solve(&provider(12), &[jobs(1, 40, "10s", Priority::Normal)]);
    assert!(plan.jobs.iter().all(|job| job.is_as_asked()));
    assert!(near(plan.loads[0].demand_per_s, 0.2));
    let plan = solve(&provider(6), &[jobs(1, 40, "10s", Priority::Normal)]);
    assert!(near(seconds(&plan, 0), 20.0));
    // Five devices in each of eight batches: eight due instants, but two calls can serve all.
    let thin: Vec<_> = (0..8)
        .flat_map(|n| {
            jobs(1, 5, "10s", Priority::Normal)
                .into_iter()
                .map(move |job| Demand { device: DeviceId(job.device.0 + 20 * n), ..job })
        })
        .collect();
    let plan = solve(&provider(12), std::slice::from_ref(&thin));
    assert!(near(plan.loads[0].demand_per_s, 0.8) && plan.jobs.iter().all(|job| job.is_as_asked()));
    assert!(near(plan.loads[0].used_per_s, 0.2));
    let plan = solve(&provider(6), &[thin]);
    assert!(near(seconds(&plan, 0), 20.0));
}

#[test]
fn group_call_is_as_frequent_as_its_most_frequent_job() {
    let state = "unit = \"group\"\ncost = 2";
    let provider = provider(&(quota("minute", "connection", 5, "1m") + "burst = 2\n"), state);
    let homes = [jobs(1, 50, "1m", Priority::Low), jobs(1, 3, "10s", Priority::Normal)];
    // 4 per minute beside the burst are 2 calls: jobs that ask 10 s get 30 s, jobs that ask 1m get it.
    let plan = solve(&provider, &homes);
    assert!(near(seconds(&plan, 50), 30.0) && near(seconds(&plan, 0), 60.0));
    assert!(near(plan.loads[0].demand_per_s, 0.2));
}

#[test]
fn device_quota_limits_only_that_devices_jobs() {
    let provider = provider(&quota("device", "device", 1, "1m"), "");
    let energy = |job: &Demand| Demand { resource: "energy".parse().unwrap(), ..job.clone() };
    let mut all = jobs(1, 2, "90s", Priority::Normal);
    all.push(energy(&all[0]));
    // Two jobs of one device share one run per minute; the other device has enough.
    let plan = solve(&provider, &[all]);
    assert!(
        near(seconds(&plan, 0), 120.0) && near(seconds(&plan, 2), 120.0) && near(seconds(&plan, 1), 90.0)
    );
    assert_eq!(plan.loads.len(), 1);
    let load = &plan.loads[0];
    assert_eq!((&load.holder, load.bound_jobs), (&Holder::Device(DeviceId(1_000)), 2));
    assert!(near(load.demand_per_s, 2.0 / 90.0) && near(load.used_per_s, 1.0 / 60.0));
}

#[test]
fn supply_of_each_quota_kind() {
    let of = |lines: &str| {
        let text = format!("[[quota]]\nname = \"q\"\nscope = \"app\"\namount = 100\n{lines}");
        let plan = solve(&provider(&text, ""), &[jobs(1, 1, "1m", Priority::Normal)]);
        let load = plan.loads.first().map(|load| (load.supply_per_s, load.is_assumed));
        (load, plan.without_rate)
    };
    assert_eq!(of("window = \"100s\"\nheadroom = 0.0").0, Some((1.0, false)));
    let reserved = of("window = \"100s\"\nheadroom = 0.0\nreserve = 0.2").0.unwrap();
    assert!(near(reserved.0, 0.8));
    let day = of("kind = \"aligned\"\nwindow = \"day\"\nreserve = 0.1").0.unwrap();
    assert!(near(day.0, 90.0 / 86_400.0));
    let adaptive = of("kind = \"adaptive\"\nwindow = \"100s\"\nstart = 30").0.unwrap();
    assert!(near(adaptive.0, 0.3) && adaptive.1);
    for lines in ["kind = \"concurrent\"", "kind = \"errors\"\nwindow = \"1m\""] {
        assert_eq!(of(lines), (None, vec!["q".to_owned()]));
    }
}

#[test]
fn job_of_an_undeclared_resource_has_no_effective_interval() {
    let unknown: Vec<_> = jobs(1, 1, "1m", Priority::Normal)
        .into_iter()
        .map(|job| Demand { resource: "gone".parse().unwrap(), ..job })
        .collect();
    let plan = solve(&provider("", ""), &[unknown, jobs(1, 1, "1m", Priority::Normal)]);
    assert_eq!((plan.jobs[0].effective_ms, plan.jobs[0].is_as_asked()), (None, false));
    assert!(plan.jobs[1].is_as_asked() && plan.loads.is_empty());
}
