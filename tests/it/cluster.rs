//! A cluster: slots move, primaries die, nodes are added, and quotas are kept.

mod rig;

use self::rig::Cluster;
use crate::metered::{DEFINITION, Metered, Running, WINDOW, settings};
use crate::support::TestApp;
use paceline::keep;
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
    // One of them is told of a single node, which is not even a neighbour of its schedule.
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
    cloud.is_called(100, soon).await;
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
