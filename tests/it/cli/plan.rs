//! `plan`: the forecast of a connection with more demand than its quotas supply.

use super::Binary;

/// CSV of so many devices, each with an energy job; a call serves one device.
fn energy_csv(devices: usize, interval: &str) -> String {
    let row = |n: usize| format!("e{n},,,energy,{interval},normal\n");
    let rows: String = (0..devices).map(row).collect();
    format!("external_id,name,group,resource,interval,priority\n{rows}")
}

#[tokio::test]
async fn overloaded_connection_is_shown_with_the_quota_that_limits_it() {
    let binary = Binary::new().await;
    assert!(binary.run("plan").ok().out.contains("No scheduled jobs"));
    binary.connect();
    let import = ["device", "import", "--tenant", "acme", "--connection", "main"];
    binary.run_with(&import, energy_csv(10, "30s").as_bytes()).ok();
    let fulfilled = binary.run("plan").ok().out;
    assert!(fulfilled.ends_with("meadow: all 10 jobs run as often as asked.\n"), "{fulfilled}");
    assert!(fulfilled.contains("app-second") && !fulfilled.contains('◄'), "{fulfilled}");

    // 100 jobs every 30 s; `hour` allows 5401 calls in 3672 s, so each job runs every 68 s.
    binary.run_with(&import, energy_csv(100, "30s").as_bytes()).ok();
    binary
        .run("device add --tenant acme --connection main --external-id s --resource state --interval 5m")
        .ok();
    let plan = binary.run("plan").ok().out;
    assert!(plan.contains("◄ limits 100 jobs") && plan.contains("… and 80 more"), "{plan}");
    let why = "asked 30s, gets 1m8s: quota hour of connection";
    assert!(plan.contains(why) && plan.contains("allows 6000 in 1h"), "{plan}");
    assert!(plan.ends_with(
        "meadow: 100 of 101 jobs run less often than asked, at worst every 1m8s instead of 30s.\n"
    ));
    assert_eq!(binary.run("plan --all").ok().out.matches(why).count(), 100);

    let plan = &binary.json("plan --provider meadow")["providers"]["meadow"];
    assert_eq!((&plan["slower"], plan["jobs"].as_array().expect("jobs").len()), (&100.into(), 101));
    let hour = plan["quotas"].as_array().expect("quotas").iter().find(|q| q["quota"] == "hour").expect("it");
    assert_eq!((&hour["bound_jobs"], hour["used_share"].as_f64().map(f64::round)), (&100.into(), Some(1.0)));
    let job = &plan["jobs"][0];
    assert_eq!((&job["asked_ms"], &job["bound_by"]["quota"]), (&30_000.into(), &"hour".into()));
    // The state job takes one call per 5 min of that.
    let supply = 5_401.0 / 3_672.0 - 1.0 / 300.0;
    let effective_ms = job["effective_ms"].as_f64().expect("a time");
    assert!((effective_ms / (100e3 / supply) - 1.0).abs() < 1e-4, "{effective_ms}");
}

#[tokio::test]
async fn filters_hide_jobs_but_all_jobs_are_in_the_forecast() {
    let binary = Binary::new().await;
    binary.connect();
    let import = ["device", "import", "--tenant", "acme", "--connection", "main"];
    binary.run_with(&import, energy_csv(60, "10s").as_bytes()).ok();
    let urgent = binary.run("set e0 --tenant acme --priority realtime --interval 15s").ok().out;
    assert!(urgent.contains("realtime"), "{urgent}");
    let one = binary.run("plan --device e0 --tenant acme").ok().out;
    assert!(one.contains("hour") && one.ends_with("meadow: its job runs as often as asked.\n"), "{one}");
    let two = binary.run("plan --device e1 --tenant acme").ok().out;
    assert!(two.contains("meadow: its job runs less often than asked, every 42s instead of 10s."), "{two}");

    // Paused jobs are not in the forecast.
    binary.run("set e0 --tenant acme --pause").ok();
    assert_eq!(binary.json("plan")["providers"]["meadow"]["jobs"].as_array().map(Vec::len), Some(59));
    binary.run("key create --tenant other --role user").ok();
    assert!(binary.run("plan --tenant other").ok().out.contains("No scheduled jobs"));
    binary.run("plan --provider medow").refused(1, &["awair, daikin-onecta, ecobee, enphase, govee"]);
    binary.run("plan --device e99 --tenant acme").refused(1, &["no device"]);
    binary.run("plan --tenant nobody").refused(1, &["no tenant"]);
}

#[tokio::test]
async fn plan_of_a_connection_is_set_and_unknown_plans_are_refused() {
    let binary = Binary::new().await;
    let add = "connection add --tenant acme --provider tado --label home --param home=1";
    binary.run(&format!("{add} --param plan=pro")).refused(1, &["no plan \"pro\"", "auto-assist and free"]);
    binary.run(add).ok();
    binary.run("connection plan --tenant acme home gold").refused(1, &["no plan \"gold\""]);
    let moved = binary.run("connection plan --tenant acme home auto-assist").ok().out;
    assert!(moved.contains("is on plan auto-assist"), "{moved}");
    assert!(binary.run("connection list --tenant acme").ok().out.contains("tado, auto-assist"));
}
