//! A cluster: slots move, primaries die, nodes are added, and quotas are kept.

mod rig;

pub use self::rig::Cluster;
use crate::metered::{DEFINITION, Metered, Running, WINDOW, settings};
use crate::support::TestApp;
use paceline::{keep, watch};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Waits until the schedule is as Postgres has it, however soon after a change.
async fn is_sound_within_a_minute(t: &TestApp) {
    let sound = async {
        while !keep::check(&t.app, true).await.is_ok_and(|report| report.clean) {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(60), sound).await.expect("a sound schedule");
}

#[tokio::test]
async fn slow_quota_is_kept_while_a_cluster_changes() {
    let mut cluster = Cluster::start().await;
    let t = TestApp::with_settings(&[("mocked", DEFINITION)], settings).await.at_redis(&cluster.url()).await;
    let cloud = Metered::start(&t, "mocked").await;
    // One of them has the address of a single node, a replica that does not hold the schedule.
    let alone = t.app_at(&cluster.nodes[4].url).await;
    let workers = [Running::start(t.app_at(&cluster.url()).await), Running::start(alone)];
    let slot = cluster.slot(&t.app.keys.anchor(&"mocked".parse().unwrap())).await;
    cloud.is_called(300, WINDOW * 2).await;

    // After each change the quota counts as spent.
    let soon = WINDOW + Duration::from_secs(10);
    let holder = cluster.holder(slot).await;
    cluster.move_slot(slot, (holder + 1) % 3, Duration::from_secs(3)).await;
    cloud.is_called(100, soon).await;
    cluster.kill_holder(slot).await;
    cloud.is_called(100, soon).await;
    let added = cluster.add_node().await;
    cluster.move_slot(slot, added, Duration::ZERO).await;
    cloud.is_called(200, soon).await;
    // In the long run it makes no difference.
    let used = cloud.used_share().await;

    is_sound_within_a_minute(&t).await;
    for worker in workers {
        worker.end().await;
    }
    cloud.quota_was_kept("a cluster that changes");
    println!("{used:.3} used");
    assert!(used >= 0.95, "{used:.3} used");
}

/// Names of providers whose schedules lie on different nodes.
async fn apart(cluster: &Cluster) -> [&'static str; 2] {
    let names = ["alder", "birch", "cedar", "maple", "rowan", "willow"];
    let mut holders = Vec::new();
    for name in names {
        holders.push(cluster.holder(cluster.slot(&format!("{{{name}}}:")).await).await);
    }
    let other = holders.iter().position(|holder| *holder != holders[0]).expect("six names on two nodes");
    [names[0], names[other]]
}

#[tokio::test]
async fn slow_providers_of_dead_nodes_stand_still_and_say_so_while_others_go_on() {
    let mut cluster = Cluster::start().await;
    let [lost, kept] = apart(&cluster).await;
    let providers = [(lost, DEFINITION), (kept, DEFINITION)];
    let t = TestApp::with_settings(&providers, settings).await.at_redis(&cluster.url()).await;
    let clouds = [Metered::start(&t, lost).await, Metered::start(&t, kept).await];
    let worker = Running::start(t.app_at(&cluster.url()).await);
    for cloud in &clouds {
        cloud.is_called(100, WINDOW).await;
    }

    cluster.kill_holder_and_replicas(cluster.slot(&format!("{{{lost}}}:")).await).await;
    // What was granted before is sent.
    sleep(Duration::from_secs(5)).await;
    let before = clouds[0].calls();
    let used = clouds[1].used_share().await;
    let meta = t.app.keys.meta(&kept.parse().unwrap());
    let far: Option<String> =
        redis::cmd("HGET").arg(meta).arg("far").query_async(&mut t.app.redis.link()).await.unwrap();
    assert_eq!(clouds[0].calls(), before);
    let names = [lost, kept].map(|name| name.parse().unwrap());
    let report =
        watch::report(&t.app.sources(), None, &names, HashMap::new(), t.app.clock.now()).await.unwrap();
    let [lost, kept] = [lost, kept].map(|name| &report.providers[name]);
    assert!(lost.unreachable.is_some() && lost.schedule.is_none(), "{lost:?}");
    assert!(kept.unreachable.is_none() && kept.schedule.is_some(), "{kept:?}");
    worker.end().await;
    clouds[1].quota_was_kept("dead nodes");
    println!("{used:.3} used");
    let recent = kept.recent.as_ref().map(|recent| &recent.handed_back);
    let pauses = clouds[1].pauses();
    assert!(used >= 0.95, "{used:.3} used; far {far:?}; handed back {recent:?}; pauses {pauses:?}");
}
