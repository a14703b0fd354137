//! A worker goes on by itself after an outage of Redis or Postgres.

use crate::wire::Lost;
use crate::worker::{Worker, asked_again, good};
use futures::future::join;
use std::time::Duration;
use tokio::time::{sleep, timeout};

#[tokio::test]
async fn slow_work_resumes_after_outages() {
    let worker = Worker::start(good(), "15s").await;
    let mut requests = asked_again(&worker.cloud, 4).await;
    for wire in [&worker.redis, &worker.postgres] {
        wire.cut();
        // Long enough for every loop to fail more than once.
        sleep(Duration::from_secs(1)).await;
        wire.mend();
        requests = asked_again(&worker.cloud, requests + 5).await;
    }
    worker.end().await;
}

async fn resumes_after_silence_of_redis(lost: Lost) {
    let worker = Worker::start(good(), "15s").await;
    asked_again(&worker.cloud, 4).await;
    worker.redis.silence(lost);
    sleep(Duration::from_secs(10)).await;
    let requests = worker.cloud.received_requests().await.unwrap_or_default().len();
    worker.redis.mend();
    let resumed = asked_again(&worker.cloud, requests + 5);
    timeout(Duration::from_secs(10), resumed).await.expect("the work goes on within 10 s");
    worker.end().await;
}

#[tokio::test]
async fn slow_work_resumes_after_connections_to_redis_fell_silent() {
    join(resumes_after_silence_of_redis(Lost::Requests), resumes_after_silence_of_redis(Lost::Responses))
        .await;
}
