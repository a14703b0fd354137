//! A worker goes on by itself after an outage of Redis or Postgres.

use crate::wire::{Lost, Wire};
use crate::worker::{Worker, asked_again, good};
use futures::future::join4;
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

/// Calls, and changes that are notified of, go on.
async fn resumes_after_silence(of: fn(&Worker) -> &Wire, lost: Lost) {
    let mut worker = Worker::start(good(), "15s").await;
    asked_again(&worker.cloud, 4).await;
    of(&worker).silence(lost);
    sleep(Duration::from_secs(10)).await;
    let requests = worker.cloud.received_requests().await.unwrap_or_default().len();
    of(&worker).mend();
    let resumed = async {
        asked_again(&worker.cloud, requests + 5).await;
        worker.t.add_devices("mocked", worker.connection, 6, "1s").await;
        let waiting = "SELECT count(*) FROM outbox";
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&worker.t.app.pool).await.unwrap() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), resumed).await.expect("the work goes on within 10 s");
    worker.devices = 6;
    worker.end().await;
}

#[tokio::test]
async fn slow_work_resumes_after_connections_fell_silent() {
    let redis = |lost| resumes_after_silence(|worker| &worker.redis, lost);
    let postgres = |lost| resumes_after_silence(|worker| &worker.postgres, lost);
    join4(redis(Lost::Requests), redis(Lost::Responses), postgres(Lost::Requests), postgres(Lost::Responses))
        .await;
}
