//! A replica of Redis is promoted, and the old primary lives on as its replica: open connections still lead there.

use crate::private_redis::PrivateRedis;
use crate::worker::{Worker, asked_again, good};
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test]
async fn slow_work_goes_on_at_the_promoted_redis() {
    let (old, new) = (PrivateRedis::start().await, PrivateRedis::start().await);
    new.say(&format!("REPLICAOF 127.0.0.1 {}", old.port)).await;
    let mut worker = Worker::start_on(&old.url, good(), "15s").await;
    asked_again(&worker.cloud, 4).await;
    old.say("WAIT 1 5000").await;

    new.say("REPLICAOF NO ONE").await;
    worker.redis.lead_to(&new.url);
    // Of a server that is away: no message that is published at the new one reaches those who listen here.
    old.say("REPLICAOF 127.0.0.1 1").await;
    let requests = worker.cloud.received_requests().await.unwrap_or_default().len();
    // More than were granted before.
    let resumed = asked_again(&worker.cloud, requests + 15);
    timeout(Duration::from_secs(10), resumed).await.expect("the work goes on within 10 s");
    worker.t = worker.t.at_redis(&new.url).await;
    worker.end().await;
}
