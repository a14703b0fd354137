//! A Redis that becomes unsuitable under a running process: no call is granted, and work goes on once it is mended.

use crate::journey::SINGLE;
use crate::private_redis::PrivateRedis;
use crate::support::TestApp;
use crate::worker::asked_again;
use paceline::app::App;
use paceline::keep;
use paceline::redis::{RedisError, Unsuitable};
use paceline::serve::{Role, serve};
use paceline::take::Taker;
use serde_json::json;
use std::time::Duration;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Waits until the process has noticed that its Redis is unsuitable.
async fn noticed(app: &App) -> RedisError {
    let noticed = async {
        let mut tick = interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            if let Err(error) = app.redis.usable() {
                return error;
            }
        }
    };
    timeout(TIMEOUT, noticed).await.expect("an inspection that finds it")
}

/// How many calls the cloud gets while every job comes due several times.
async fn calls_meanwhile(cloud: &MockServer) -> usize {
    let requests = async || cloud.received_requests().await.unwrap_or_default().len();
    // Calls that were granted before may be sent within the horizon.
    sleep(Duration::from_millis(1500)).await;
    let before = requests().await;
    sleep(Duration::from_secs(2)).await;
    requests().await - before
}

#[tokio::test]
async fn slow_no_call_is_granted_while_redis_may_evict() {
    let mut server = PrivateRedis::start().await;
    let t = TestApp::with_settings(&[("mocked", SINGLE)], |s| {
        s.schedule.first_run_spread = "1s".parse().unwrap();
        s.take.lease = "1s".parse().unwrap();
    })
    .await
    .at_redis(&server.url)
    .await;
    let cloud = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_json(json!({"t": 1, "online": true}));
    Mock::given(method("GET")).respond_with(answer).mount(&cloud).await;
    let connection = t.connect("mocked", "main", &cloud.uri()).await;
    t.add_devices("mocked", connection, 5, "1s").await;
    let stop = CancellationToken::new();
    let working = tokio::spawn(serve(t.app.clone(), &[Role::Fetch, Role::Keep], None, stop.clone()));
    let mut requests = asked_again(&cloud, 4).await;

    // First on the same run of the server, then on one that started so.
    for restart in [false, true] {
        match restart {
            false => server.say("CONFIG SET maxmemory-policy allkeys-lru").await,
            true => server.restart("allkeys-lru").await,
        }
        let error = noticed(&t.app).await;
        let is_eviction = matches!(&error, RedisError::Unsuitable { why: Unsuitable::Evicts { .. }, .. });
        assert!(is_eviction, "{error}");
        assert_eq!(calls_meanwhile(&cloud).await, 0, "restarted: {restart}");
        let provider = t.app.registry.get("mocked").unwrap();
        let taker = Taker::new(t.app.redis.clone(), provider, &t.app.taker_settings());
        assert!(taker.take(1, None).await.is_err_and(|e| matches!(e, RedisError::Unsuitable { .. })));

        server.say("CONFIG SET maxmemory-policy noeviction").await;
        requests = asked_again(&cloud, requests + 5).await;
    }
    stop.cancel();
    timeout(TIMEOUT, working).await.expect("it stops").unwrap().unwrap();
    let report = keep::check(&t.app, false).await.unwrap();
    assert!(report.clean && report.scheduled == 5, "{report:?}");
}
