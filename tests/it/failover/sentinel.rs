//! Sentinels watch over a primary and its replica, and promote the replica when the primary dies.

use crate::metered::{DEFINITION, Metered, Running, settings};
use crate::private_redis::{PrivateRedis, free_port, program};
use crate::support::TestApp;
use paceline::keep;
use paceline::redis::connect;
use std::fs;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::{interval, sleep, timeout};

struct Sentinel {
    port: u16,
    /// Killed when dropped.
    _process: Child,
    _dir: TempDir,
}

impl Sentinel {
    fn watching(primary: &PrivateRedis) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let config = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\nsentinel monitor main 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n",
            dir.path().display(),
            primary.port
        );
        let file = dir.path().join("sentinel.conf");
        fs::write(&file, config).unwrap();
        let process = program("server", |command| {
            command.arg(&file).arg("--sentinel");
        });
        Self { port, _process: process, _dir: dir }
    }
}

/// `redis+sentinel://` and the first of which nobody listens.
fn url(sentinels: &[Sentinel], name: &str) -> String {
    let hosts: Vec<_> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
    format!("redis+sentinel://127.0.0.1:1,{}/{name}", hosts.join(","))
}

/// A primary, a replica that has caught up, and three Sentinels that know both and each other.
async fn watched() -> (PrivateRedis, PrivateRedis, [Sentinel; 3]) {
    let (primary, replica) = (PrivateRedis::start().await, PrivateRedis::start().await);
    replica.say(&format!("REPLICAOF 127.0.0.1 {}", primary.port)).await;
    let sentinels = [(); 3].map(|()| Sentinel::watching(&primary));
    let known = async {
        let mut tick = interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            let Ok(mut connection) = redis::Client::open(format!("redis://127.0.0.1:{}", sentinels[2].port))
                .unwrap()
                .get_multiplexed_async_connection()
                .await
            else {
                continue;
            };
            let about: String =
                redis::cmd("INFO").arg("sentinel").query_async(&mut connection).await.unwrap_or_default();
            if about.contains("slaves=1,sentinels=3") {
                return;
            }
        }
    };
    timeout(Duration::from_secs(30), known).await.expect("Sentinels that know each other");
    (primary, replica, sentinels)
}

#[tokio::test]
async fn slow_work_goes_on_where_sentinels_promote_a_replica() {
    let (mut primary, replica, sentinels) = watched().await;
    let url = url(&sentinels, "main");
    let t = TestApp::with_settings(&[("mocked", DEFINITION)], settings).await.at_redis(&url).await;
    let cloud = Metered::start(&t, "mocked").await;
    let worker = Running::start(t.app_at(&url).await);
    cloud.is_called(100, Duration::from_secs(10)).await;

    primary.kill().await;
    // What was granted before may still be sent.
    sleep(Duration::from_secs(2)).await;
    // A second until the primary counts as dead, the election, and a window that counts as spent.
    cloud.is_called(100, Duration::from_secs(20)).await;
    worker.end().await;
    cloud.quota_was_kept("a replica promoted by Sentinels");
    assert!(keep::check(&t.at_redis(&replica.url).await.app, true).await.unwrap().clean);
}

#[tokio::test]
async fn slow_sentinels_that_know_no_such_primary_are_refused() {
    let (_primary, _replica, sentinels) = watched().await;
    let error = connect(&url(&sentinels, "mine").into()).await.err().expect("a refusal").to_string();
    assert!(error.contains("mine") && error.contains("redis.url"), "{error}");
}
