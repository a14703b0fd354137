//! Redis and Postgres that are far away: quotas are used all the same, and kept.

use crate::metered::{DEFINITION, Metered, Running, settings};
use crate::support::{TestApp, server};
use crate::wire::Wire;
use futures::future::join_all;
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::time::sleep;

/// The share of the quota that a worker uses in the long run, with round trips of so many ms to Redis and to Postgres.
async fn used_share(redis_ms: u64, postgres_ms: u64) -> f64 {
    let t = TestApp::with_settings(&[("mocked", DEFINITION)], settings).await;
    let cloud = Metered::start(&t, "mocked").await;
    let (database_url, redis_url) =
        (t.database_url.expose_secret().to_owned(), server("PACELINE_TEST_REDIS_URL"));
    let postgres = Wire::far(&database_url, Duration::from_millis(postgres_ms)).await;
    let redis = Wire::far(&redis_url, Duration::from_millis(redis_ms)).await;
    let worker = Running::start(t.app_on(&postgres.reroute(&database_url), &redis.reroute(&redis_url)).await);
    // Until the distance is known, and what opening connections took is forgotten.
    sleep(Duration::from_secs(35)).await;
    let used = cloud.used_share().await;
    worker.end().await;
    cloud.quota_was_kept(&format!("{redis_ms}, {postgres_ms} ms"));
    used
}

#[tokio::test]
async fn slow_quotas_are_used_and_kept_however_far_the_servers_are() {
    let round_trips_ms = [(0, 0), (60, 0), (0, 100), (30, 30), (200, 200)];
    let used = join_all(round_trips_ms.map(|(redis, postgres)| used_share(redis, postgres))).await;
    println!("{round_trips_ms:?} ms: {used:.3?} used");
    assert!(used.iter().all(|used| *used >= 0.95), "{round_trips_ms:?} ms: {used:.3?} used");
}
