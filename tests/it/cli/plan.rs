//! `plan`: what is told of a connection that is asked for more than it allows.

use super::Binary;

/// So many devices with an energy job each, one device a call.
fn energy(devices: usize, interval: &str) -> String {
    let row = |n: usize| format!("e{n},,,energy,{interval},normal\n");
    let rows: String = (0..devices).map(row).collect();
    format!("external_id,name,group,resource,interval,priority\n{rows}")
}

#[tokio::test]
async fn an_overloaded_connection_is_told_with_the_quota_that_binds_it() {
    let binary = Binary::new().await;
    assert!(binary.run("plan").ok().out.contains("No scheduled jobs"));
    binary.connect();
    let import = ["device", "import", "--tenant", "acme", "--connection", "main"];
    binary.run_with(&import, energy(10, "30s").as_bytes()).ok();
    let happy = binary.run("plan").ok().out;
    assert!(happy.ends_with("meadow: all 10 jobs get what they ask.\n"), "{happy}");
    assert!(happy.contains("app-second") && !happy.contains('◄'), "{happy}");

    // 100 in 30 s; `hour` gives out 5401 in 3672 s, so that each gets one in 68 s.
    binary.run_with(&import, energy(100, "30s").as_bytes()).ok();
    binary
        .run("device add --tenant acme --connection main --external-id s --resource state --interval 5m")
        .ok();
    let told = binary.run("plan").ok().out;
    assert!(told.contains("◄ binds 100 jobs") && told.contains("… and 80 more"), "{told}");
    let why = "asked 30s, gets 1m8s: quota hour of connection";
    assert!(told.contains(why) && told.contains("allows 6000 in 1h"), "{told}");
    assert!(
        told.ends_with("meadow: 100 of 101 jobs get less than they ask, the worst 1m8s instead of 30s.\n")
    );
    assert_eq!(binary.run("plan --all").ok().out.matches(why).count(), 100);

    let plan = &binary.json("plan --provider meadow")["providers"]["meadow"];
    assert_eq!((&plan["slower"], plan["jobs"].as_array().expect("jobs").len()), (&100.into(), 101));
    let hour = plan["quotas"].as_array().expect("quotas").iter().find(|q| q["quota"] == "hour").expect("it");
    assert_eq!((&hour["bound_jobs"], hour["used_share"].as_f64().map(f64::round)), (&100.into(), Some(1.0)));
    let job = &plan["jobs"][0];
    assert_eq!((&job["asked_ms"], &job["bound_by"]["quota"]), (&30_000.into(), &"hour".into()));
    // The state job takes one call in 5 m of them.
    let supply = 5_401.0 / 3_672.0 - 1.0 / 300.0;
    let effective_ms = job["effective_ms"].as_f64().expect("a time");
    assert!((effective_ms / (100e3 / supply) - 1.0).abs() < 1e-4, "{effective_ms}");
}

#[tokio::test]
async fn only_what_is_asked_for_is_shown_and_all_is_planned() {
    let binary = Binary::new().await;
    binary.connect();
    let import = ["device", "import", "--tenant", "acme", "--connection", "main"];
    binary.run_with(&import, energy(60, "10s").as_bytes()).ok();
    let urgent = binary.run("set e0 --tenant acme --priority realtime --interval 15s").ok().out;
    assert!(urgent.contains("realtime"), "{urgent}");
    let one = binary.run("plan --device e0 --tenant acme").ok().out;
    assert!(one.contains("hour") && one.ends_with("meadow: the one job gets what it asks.\n"), "{one}");
    let two = binary.run("plan --device e1 --tenant acme").ok().out;
    assert!(two.contains("meadow: the one job gets 42s instead of 10s."), "{two}");

    // What is paused asks for nothing.
    binary.run("set e0 --tenant acme --pause").ok();
    assert_eq!(binary.json("plan")["providers"]["meadow"]["jobs"].as_array().map(Vec::len), Some(59));
    binary.run("key create --tenant other --role user").ok();
    assert!(binary.run("plan --tenant other").ok().out.contains("No scheduled jobs"));
    binary.run("plan --provider medow").refused(1, &["awair, daikin-onecta, ecobee, enphase, govee"]);
    binary.run("plan --device e99 --tenant acme").refused(1, &["no device"]);
    binary.run("plan --tenant nobody").refused(1, &["no tenant"]);
}

#[tokio::test]
async fn a_connection_says_which_plan_it_is_on() {
    let binary = Binary::new().await;
    let add = "connection add --tenant acme --provider tado --label home --param home=1";
    binary.run(&format!("{add} --param plan=pro")).refused(1, &["no plan \"pro\"", "auto-assist and free"]);
    binary.run(add).ok();
    binary.run("connection plan --tenant acme home gold").refused(1, &["no plan \"gold\""]);
    let moved = binary.run("connection plan --tenant acme home auto-assist").ok().out;
    assert!(moved.contains("is on plan auto-assist"), "{moved}");
    assert!(binary.run("connection list --tenant acme").ok().out.contains("tado, auto-assist"));
}
