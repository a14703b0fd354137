//! A cloud whose quota of 200 calls per 10 s is asked for five times as much, and which notes when it was called.

use crate::support::TestApp;
use paceline::app::App;
use paceline::serve::{Role, ServeError, serve};
use paceline::settings::Settings;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const AMOUNT: usize = 200;
pub const WINDOW: Duration = Duration::from_secs(10);

/// Far from its servers, a process that uses this quota has more calls in flight than the usual 64.
pub const DEFINITION: &str = r#"
title = "Metered"
[http]
base_url = "{{ params.base_url }}"
timeout = "2s"
in_flight = 256
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

/// Quick to start and to stop.
pub fn settings(s: &mut Settings) {
    s.schedule.first_run_spread = "1s".parse().unwrap();
    s.shutdown.grace = "2s".parse().unwrap();
}

/// Answers, and notes when it was asked.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Instant>>>);

impl Respond for Log {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().push(Instant::now());
        ResponseTemplate::new(200).set_body_json(json!({"t": 1, "online": true}))
    }
}

pub struct Metered {
    log: Log,
    /// Listens as long as it lives.
    _server: MockServer,
}

impl Metered {
    /// A cloud with a connection of this provider, whose 100 devices are wanted every second: one that is called is not
    /// called again before that is settled.
    pub async fn start(t: &TestApp, provider: &str) -> Self {
        let (server, log) = (MockServer::start().await, Log::default());
        Mock::given(method("GET")).respond_with(log.clone()).mount(&server).await;
        let connection = t.connect(provider, "main", &server.uri()).await;
        t.add_devices(provider, connection, 100, "1s").await;
        Self { log, _server: server }
    }

    /// The share of the quota that is used from now on, over more than a window.
    pub async fn used_share(&self) -> f64 {
        let (began, measured) = (Instant::now(), WINDOW * 12 / 10);
        sleep(measured).await;
        let sent = self.log.0.lock().unwrap().clone();
        let count = sent.iter().filter(|at| (began..began + measured).contains(*at)).count();
        count as f64 / (AMOUNT as f64 * measured.as_secs_f64() / WINDOW.as_secs_f64())
    }

    /// Waits for so many calls more.
    pub async fn is_called(&self, calls: usize, within: Duration) {
        let before = self.calls();
        let called = async {
            let mut tick = interval(Duration::from_millis(20));
            while self.calls() < before + calls {
                tick.tick().await;
            }
        };
        let waited = timeout(within, called).await;
        assert!(waited.is_ok(), "{} calls in {within:?}, not {calls}", self.calls() - before);
    }

    pub fn calls(&self) -> usize {
        self.log.0.lock().unwrap().len()
    }

    /// Pauses of more than 300 ms between two calls, and how long before the last call each ended.
    pub fn pauses(&self) -> Vec<(Duration, Duration)> {
        let sent = self.log.0.lock().unwrap();
        let Some(last) = sent.last() else { return Vec::new() };
        let pauses = sent.iter().zip(sent.iter().skip(1)).map(|(a, b)| (*b - *a, *last - *b));
        pauses.filter(|(pause, _)| *pause > Duration::from_millis(300)).collect()
    }

    /// No window had more calls than the quota allows.
    pub fn quota_was_kept(&self, situation: &str) {
        let sent = self.log.0.lock().unwrap();
        for (first, next) in sent.iter().zip(sent.iter().skip(AMOUNT)) {
            let within = *next - *first;
            assert!(within >= WINDOW, "{situation}: {AMOUNT} and one in {within:?}");
        }
    }
}

/// A worker in this process.
pub struct Running {
    pub stop: CancellationToken,
    pub working: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    /// Fetches and keeps the schedule.
    pub fn start(app: App) -> Self {
        let stop = CancellationToken::new();
        let serving = stop.clone();
        let working =
            tokio::spawn(async move { serve(app, &[Role::Fetch, Role::Keep], None, serving).await });
        Self { stop, working }
    }

    pub async fn end(self) {
        self.stop.cancel();
        timeout(Duration::from_secs(20), self.working).await.expect("it stops").unwrap().unwrap();
    }
}
