//! A worker in this process, whose servers can be cut off.

use crate::journey::SINGLE;
use crate::metered::Running;
use crate::support::{TestApp, server};
use crate::wire::Wire;
use paceline::keep;
use paceline::serve::ServeError;
use paceline::words::ConnectionId;
use secrecy::ExposeSecret;
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// What a healthy cloud answers.
pub fn good() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"t": 1, "online": true}))
}

/// Waits until the cloud has had more than `before` requests.
pub async fn asked_again(cloud: &MockServer, before: usize) -> usize {
    let asked = async {
        let mut tick = interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let requests = cloud.received_requests().await.unwrap_or_default().len();
            if requests > before {
                return requests;
            }
        }
    };
    timeout(Duration::from_secs(30), asked).await.expect("the work goes on")
}

/// A worker with five devices of 1 s, behind proxies.
pub struct Worker {
    pub t: TestApp,
    pub cloud: MockServer,
    pub postgres: Wire,
    pub redis: Wire,
    pub connection: ConnectionId,
    /// How many it has.
    pub devices: u64,
    pub stop: CancellationToken,
    pub working: JoinHandle<Result<(), ServeError>>,
}

impl Worker {
    /// Starts it. `grace`: its shutdown.grace.
    pub async fn start(answer: ResponseTemplate, grace: &str) -> Self {
        Self::start_on(&server("PACELINE_TEST_REDIS_URL"), answer, grace).await
    }

    /// Likewise, on this Redis.
    pub async fn start_on(redis_url: &str, answer: ResponseTemplate, grace: &str) -> Self {
        let t = TestApp::with_settings(&[("mocked", SINGLE)], |s| {
            s.schedule.first_run_spread = "1s".parse().unwrap();
            s.take.lease = "1s".parse().unwrap();
            s.shutdown.grace = grace.parse().unwrap();
        })
        .await
        .at_redis(redis_url)
        .await;
        let cloud = MockServer::start().await;
        Mock::given(method("GET")).respond_with(answer).mount(&cloud).await;
        let connection = t.connect("mocked", "main", &cloud.uri()).await;
        t.add_devices("mocked", connection, 5, "1s").await;

        let database_url = t.database_url.expose_secret().to_owned();
        let (postgres, redis) = (Wire::to(&database_url).await, Wire::to(redis_url).await);
        let app = t.app_on(&postgres.reroute(&database_url), &redis.reroute(redis_url)).await;
        let Running { stop, working } = Running::start(app);
        Self { t, cloud, postgres, redis, connection, devices: 5, stop, working }
    }

    /// Stops it. Everything is as it should be.
    pub async fn end(self) {
        Running { stop: self.stop, working: self.working }.end().await;
        let report = keep::check(&self.t.app, false).await.unwrap();
        assert!(report.clean && report.scheduled == self.devices, "{report:?}");
    }
}
