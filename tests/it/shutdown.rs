//! A worker stops within its grace, even if Postgres, Redis or a cloud does not answer.

use crate::crash::serve;
use crate::support::{TestApp, server};
use crate::wire::Wire;
use crate::worker::{Worker, asked_again, good};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

/// Less than the time limit of a call.
const GRACE: Duration = Duration::from_secs(1);

/// Stops it; returns how long that took.
async fn stopped(worker: &mut Worker) -> Duration {
    let began = Instant::now();
    worker.stop.cancel();
    let ended = timeout(Duration::from_secs(20), &mut worker.working).await;
    ended.expect("it stops").unwrap().unwrap();
    began.elapsed()
}

#[tokio::test]
async fn slow_stop_ends_within_its_grace_while_a_server_hangs() {
    for hangs in ["postgres", "redis"] {
        let mut worker = Worker::start(good(), "1s").await;
        asked_again(&worker.cloud, 4).await;
        match hangs {
            "postgres" => worker.postgres.hold(),
            _ => worker.redis.hold(),
        }
        // So long that every loop has met the outage when the stop comes: the time itself is what is tested.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let took = stopped(&mut worker).await;
        assert!(took < GRACE + Duration::from_millis(1500), "{hangs}: {took:?}");
    }
}

#[tokio::test]
async fn slow_calls_cut_off_at_shutdown_are_due_again_at_once() {
    let mut worker = Worker::start(good().set_delay(Duration::from_secs(60)), "1s").await;
    asked_again(&worker.cloud, 0).await;
    let took = stopped(&mut worker).await;
    assert!((GRACE..GRACE + Duration::from_millis(1500)).contains(&took), "{took:?}");
    let keys = &worker.t.app.keys;
    let leases: i64 = redis::cmd("ZCARD")
        .arg(format!("{}leases", keys.anchor(&"mocked".parse().unwrap())))
        .query_async(&mut worker.t.app.redis.link())
        .await
        .unwrap();
    assert_eq!(leases, 0, "no call waits for its lease");
}

/// Sends SIGTERM; returns how long the process then lives.
async fn terminated(child: &mut Child) -> Duration {
    let began = Instant::now();
    let pid = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    timeout(Duration::from_secs(30), child.wait()).await.expect("it ends").unwrap();
    began.elapsed()
}

#[tokio::test]
async fn slow_terminated_process_exits_within_its_grace_while_both_servers_hang() {
    let t = TestApp::with(&[]).await;
    let (database_url, redis_url) =
        (t.database_url.expose_secret().to_owned(), server("PACELINE_TEST_REDIS_URL"));
    let (postgres, redis) = (Wire::to(&database_url).await, Wire::to(&redis_url).await);
    let settings = [
        ("PACELINE__DATABASE__URL", postgres.reroute(&database_url)),
        ("PACELINE__REDIS__URL", redis.reroute(&redis_url)),
        ("PACELINE__SHUTDOWN__GRACE", "1s".to_owned()),
    ];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut child = serve(&t, &settings).await;
    postgres.hold();
    redis.hold();
    // Likewise.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let took = terminated(&mut child).await;
    assert!(took < GRACE + Duration::from_secs(2), "{took:?}");
}
