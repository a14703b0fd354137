//! Redis and Postgres that are far away: quotas are used all the same, and kept.

use crate::support::{TestApp, server};
use crate::wire::Wire;
use futures::future::join_all;
use paceline::app::{App, Servers};
use paceline::serve::{Role, serve};
use secrecy::ExposeSecret;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const AMOUNT: usize = 200;
const WINDOW: Duration = Duration::from_secs(10);

const DEFINITION: &str = r#"
title = "Metered"
[http]
base_url = "{{ params.base_url }}"
timeout = "2s"
[auth]
kind = "bearer"
[[quota]]
name = "ten-seconds"
scope = "connection"
amount = 200
window = "10s"
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{id: .id, observed_at: .at, online: .online, values: {t: .t}}"
"#;

/// Answers, and notes when it was asked.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Instant>>>);

impl Respond for Log {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().push(Instant::now());
        ResponseTemplate::new(200).set_body_json(json!({"t": 1, "online": true}))
    }
}

/// The share of the quota that a worker uses in the long run, with round trips of so many ms to Redis and to Postgres.
async fn used_share(redis_ms: u64, postgres_ms: u64) -> f64 {
    let settings = |s: &mut paceline::settings::Settings| {
        s.schedule.first_run_spread = "1s".parse().unwrap();
        s.shutdown.grace = "2s".parse().unwrap();
    };
    let t = TestApp::with_settings(&[("mocked", DEFINITION)], settings).await;
    let (cloud, log) = (MockServer::start().await, Log::default());
    Mock::given(method("GET")).respond_with(log.clone()).mount(&cloud).await;
    let connection = t.connect("mocked", "main", &cloud.uri()).await;
    // Five times what the quota allows: a device that is called is not called again before that is settled.
    t.add_devices("mocked", connection, 100, "1s").await;

    let (database_url, redis_url) =
        (t.database_url.expose_secret().to_owned(), server("PACELINE_TEST_REDIS_URL"));
    let postgres = Wire::far(&database_url, Duration::from_millis(postgres_ms)).await;
    let redis = Wire::far(&redis_url, Duration::from_millis(redis_ms)).await;
    let servers = Servers {
        database_url: postgres.reroute(&database_url).into(),
        redis_url: redis.reroute(&redis_url).into(),
        sealing_key: t.sealing_key.clone(),
    };
    let mut app = App::start(t.app.settings.clone(), &servers).await.unwrap();
    app.registry = t.app.registry.clone();
    let stop = CancellationToken::new();
    let serving = stop.clone();
    let working = tokio::spawn(async move { serve(app, &[Role::Fetch, Role::Keep], None, serving).await });

    // Until the distance is known, and what opening connections took is forgotten.
    sleep(Duration::from_secs(25)).await;
    let (began, measured) = (Instant::now(), WINDOW * 12 / 10);
    sleep(measured).await;
    let sent = log.0.lock().unwrap().clone();
    stop.cancel();
    timeout(Duration::from_secs(20), working).await.expect("it stops").unwrap().unwrap();

    for (first, next) in sent.iter().zip(sent.iter().skip(AMOUNT)) {
        assert!(
            *next - *first >= WINDOW,
            "{redis_ms}, {postgres_ms}: {AMOUNT} and one in {:?}",
            *next - *first
        );
    }
    let count = sent.iter().filter(|at| (began..began + measured).contains(*at)).count();
    count as f64 / (AMOUNT as f64 * measured.as_secs_f64() / WINDOW.as_secs_f64())
}

#[tokio::test]
async fn slow_quotas_are_used_and_kept_however_far_the_servers_are() {
    let round_trips_ms = [(0, 0), (60, 0), (0, 100), (30, 30), (200, 200)];
    let used = join_all(round_trips_ms.map(|(redis, postgres)| used_share(redis, postgres))).await;
    println!("{round_trips_ms:?} ms: {used:.3?} used");
    assert!(used.iter().all(|used| *used >= 0.95), "{round_trips_ms:?} ms: {used:.3?} used");
}
