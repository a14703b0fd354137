//! A provider that fails for everybody: one incident, few calls, no changed states, and everything fresh afterwards.

use crate::journey::PATIENT;
use crate::support::TestApp;
use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use paceline::adhoc::AdHocError;
use paceline::http;
use paceline::incident::{Change, Health};
use paceline::journey::{Journey, Step};
use paceline::keep;
use paceline::trial::{self, Trial, TrialError, TrialRequest};
use paceline::words::{ConnectionId, Role, UnixMs};
use serde_json::json;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

const CONNECTIONS: usize = 8;

/// How the cloud answers a request.
type Answer = dyn Fn(&Request) -> ResponseTemplate + Send + Sync;

/// Connections with two devices each, `d0` and `d1`, at a cloud whose answers tests change.
pub struct Rig {
    pub t: TestApp,
    cloud: MockServer,
    answer: Arc<RwLock<Box<Answer>>>,
    calls: Arc<AtomicU64>,
    journey: Journey,
}

pub fn good() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"t": 20.0}))
}

impl Rig {
    pub async fn new(interval: &str) -> Self {
        let t = TestApp::with_settings(&[("mocked", PATIENT)], |s| {
            s.schedule.first_run_spread = "100ms".parse().unwrap();
            s.retry.base = "100ms".parse().unwrap();
            s.incident.probe = "200ms".parse().unwrap();
            s.incident.probe_cap = "800ms".parse().unwrap();
            s.hold.first = "500ms".parse().unwrap();
            s.take.tolerance = "5s".parse().unwrap();
        })
        .await;
        let cloud = MockServer::start().await;
        let answer: Arc<RwLock<Box<Answer>>> = Arc::new(RwLock::new(Box::new(|_: &Request| good())));
        let calls = Arc::new(AtomicU64::new(0));
        let (current, counted) = (answer.clone(), calls.clone());
        let respond = move |request: &Request| {
            counted.fetch_add(1, Ordering::Relaxed);
            current.read().unwrap()(request)
        };
        Mock::given(any()).respond_with(respond).mount(&cloud).await;
        for n in 0..CONNECTIONS {
            let connection = t.connect("mocked", &format!("home-{n}"), &cloud.uri()).await;
            t.add_devices("mocked", connection, 2, interval).await;
        }
        keep::drain(&t.app).await.unwrap();
        let provider = t.app.registry.get("mocked").unwrap().clone();
        let journey = Journey::new(&t.app, &provider, CancellationToken::new()).unwrap();
        keep::rebuild_if_lost(&t.app, &provider.name).await.unwrap();
        Self { t, cloud, answer, calls, journey }
    }

    /// From now on the cloud answers so.
    pub fn answer(&self, answer: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static) {
        *self.answer.write().unwrap() = Box::new(answer);
    }

    /// Runs the journey for so long. Returns how many calls it made.
    pub async fn calls_in(&self, time: Duration) -> u64 {
        let before = self.calls.load(Ordering::Relaxed);
        self.run_until(time, async || false).await;
        self.calls.load(Ordering::Relaxed) - before
    }

    /// Runs the journey for so long, or until the condition holds; whether it did.
    pub async fn run_until(&self, limit: Duration, is_met: impl AsyncFn() -> bool) -> bool {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if is_met().await {
                return true;
            }
            keep::drain(&self.t.app).await.unwrap();
            match self.journey.pull().await.unwrap() {
                Step::Ran(calls, _) => {
                    let mut ended = 0;
                    while ended < calls {
                        ended += self.journey.land().await.unwrap().ended;
                    }
                }
                Step::Idle(wake) => {
                    let wait = wake.unwrap_or(Duration::from_millis(100)).min(Duration::from_millis(100));
                    sleep_until(Instant::now() + wait).await;
                }
            }
        }
        is_met().await
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.t.app.pool).await.unwrap()
    }

    pub async fn is_all_well(&self) -> bool {
        let failed = "SELECT count(*) FROM jobs LEFT JOIN latest USING (tenant_id, device_id, resource)
                      WHERE fetched_at IS NULL OR last_error_at > fetched_at";
        self.count(failed).await == 0
    }

    pub async fn changed_states(&self) -> i64 {
        self.count(
            "SELECT (SELECT count(*) FROM connections WHERE state <> 'active')
                  + (SELECT count(*) FROM jobs WHERE state <> 'active' OR failing_since IS NOT NULL)",
        )
        .await
    }
}

#[tokio::test]
async fn provider_that_fails_for_everybody_changes_no_state_and_recovers_alone() {
    let long = Duration::from_secs(60);
    for (status, outcome) in [(401, "unauthorized"), (500, "transient"), (404, "gone")] {
        let rig = Rig::new("2s").await;
        assert!(rig.run_until(long, async || rig.is_all_well().await).await, "{status}");
        rig.answer(move |_| ResponseTemplate::new(status));
        let has_incident =
            async || rig.count("SELECT count(*) FROM incidents WHERE closed_at IS NULL").await > 0;
        assert!(rig.run_until(long, has_incident).await, "{status}");
        assert_eq!(rig.changed_states().await, 0, "{status}");

        // Health costs eight calls a second. A night of six seconds costs three each 200, 400, 800, 800, … ms.
        let calls = rig.calls_in(Duration::from_secs(6)).await;
        assert!((3..=3 * 9).contains(&calls), "{status}: {calls} calls");
        assert_eq!(rig.changed_states().await, 0, "{status}");
        let incident = rig.t.app.incidents.known(&"mocked".parse().unwrap()).unwrap();
        assert_eq!(incident.outcome, outcome);
        assert!(incident.failing >= 4 && incident.next_probe.is_some(), "{incident:?}");

        rig.answer(|_| good());
        assert!(
            rig.run_until(long, async || rig.is_all_well().await && !has_incident().await).await,
            "{status}"
        );
        assert_eq!(rig.changed_states().await, 0, "{status}");
        assert_eq!(rig.count("SELECT count(*) FROM incidents").await, 1, "{status}");
        let report = keep::check(&rig.t.app, false).await.unwrap();
        assert!(report.problems.is_empty(), "{status}: {:?}", report.problems);
        drop(rig.cloud);
    }
}

#[tokio::test]
async fn incident_needs_enough_connections_that_fail_the_same_way() {
    let t = TestApp::with(&[("mocked", PATIENT)]).await;
    let (monitor, name) = (&t.app.incidents, "mocked".parse().unwrap());
    let start = UnixMs(1_800_000_000_000);
    let well = Health::Well { after_failure: false };
    let note = async |at_s: i64, ended: &[(i64, Health)]| {
        let ended: HashMap<_, _> = ended.iter().map(|(id, ended)| (ConnectionId(*id), *ended)).collect();
        let at = start.plus_ms(at_s * 1_000);
        monitor.note(&name, &ended, at, Some(at)).await.unwrap()
    };
    let failed = Health::Failed;
    // Five of ten, but in two ways; then four in the same way, one of which has mended.
    let mixed = [(1, failed("gone")), (2, failed("gone")), (3, failed("broken")), (4, failed("broken"))];
    assert_eq!(note(0, &(5..=10).map(|id| (id, well)).collect::<Vec<_>>()).await, Change::None);
    assert_eq!(note(1, &mixed).await, Change::None);
    assert_eq!(note(2, &[(5, failed("gone")), (6, failed("gone")), (2, well)]).await, Change::None);
    assert_eq!(monitor.known(&name), None);
    // What failed more than ten minutes ago does not count.
    assert_eq!(note(700, &[(7, failed("gone")), (8, failed("gone"))]).await, Change::None);
    assert_eq!(note(701, &[(9, failed("gone")), (10, failed("gone"))]).await, Change::None);
    assert_eq!(note(702, &[(1, failed("gone"))]).await, Change::Opened);
    let incident = monitor.known(&name).unwrap();
    assert_eq!(
        (incident.failing, incident.called, incident.next_probe),
        (5, 10, Some(start.plus_ms(712_000)))
    );
    // Fewer than half fail.
    assert_eq!(note(720, &[(7, well)]).await, Change::Closed);
    assert_eq!(monitor.read(&name).await.unwrap(), None);
    // Two of two are too few.
    assert_eq!(note(5_000, &[(1, failed("gone")), (2, failed("gone"))]).await, Change::None);
}

#[tokio::test]
async fn incident_that_redis_lost_is_ended_by_the_keeper() {
    let rig = Rig::new("1s").await;
    let long = Duration::from_secs(60);
    assert!(rig.run_until(long, async || rig.is_all_well().await).await);
    rig.answer(|_| ResponseTemplate::new(500));
    let open = async || rig.count("SELECT count(*) FROM incidents WHERE closed_at IS NULL").await;
    assert!(rig.run_until(long, async || open().await > 0).await);
    keep::end_forgotten(&rig.t.app).await.unwrap();
    assert_eq!(open().await, 1, "it lasts");
    let name = "mocked".parse().unwrap();
    let mut lose = redis::cmd("DEL");
    lose.arg(rig.t.app.keys.meta(&name)).query_async::<()>(&mut rig.t.app.redis.link()).await.unwrap();
    keep::end_forgotten(&rig.t.app).await.unwrap();
    assert_eq!(open().await, 0);
}

/// Presses "test connection" of one; waits for its turn for so long.
async fn test_connection(rig: &Rig, connection: i64, timeout: Duration) -> Result<Trial, TrialError> {
    let request = TrialRequest {
        provider: rig.t.app.registry.get("mocked").unwrap().clone(),
        tenant: rig.t.tenant,
        connection: ConnectionId(connection),
        devices: Vec::new(),
        resource: "state".parse().unwrap(),
        timeout,
    };
    trial::run(&rig.t.app, request).await
}

#[tokio::test]
async fn adhoc_calls_probe_a_provider_that_fails_as_seldom_as_jobs_and_end_the_incident() {
    let (rig, long) = (Rig::new("2s").await, Duration::from_secs(60));
    assert!(rig.run_until(long, async || rig.is_all_well().await).await);
    rig.answer(|_| ResponseTemplate::new(500));
    let open = async || rig.count("SELECT count(*) FROM incidents WHERE closed_at IS NULL").await;
    assert!(rig.run_until(long, async || open().await > 0).await);
    let connections: Vec<i64> = sqlx::query_scalar("SELECT connection_id FROM connections ORDER BY 1")
        .fetch_all(&rig.t.app.pool)
        .await
        .unwrap();

    // Pressed all the time, for three seconds of waits of 200, 400, 800, 800, … ms.
    let (end, before) = (Instant::now() + Duration::from_secs(3), rig.calls.load(Ordering::Relaxed));
    let (mut refusals, mut probes) = (0, 0);
    while Instant::now() < end {
        for connection in &connections {
            match test_connection(&rig, *connection, Duration::ZERO).await {
                Ok(trial) => {
                    probes += 1;
                    assert!(trial.outcomes().all(|(_, outcome)| outcome.unwrap().as_str() == "transient"));
                }
                Err(TrialError::NotSent(error @ AdHocError::Incident { .. })) => {
                    refusals += 1;
                    let told = error.to_string();
                    assert!(told.contains("of 8 connections since 20") && told.contains(" in 1s;"), "{told}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        sleep_until(Instant::now() + Duration::from_millis(20)).await;
    }
    assert_eq!(rig.calls.load(Ordering::Relaxed) - before, probes);
    assert!((1..=6).contains(&probes) && refusals > 50, "{probes} probes, {refusals} refusals");
    assert_eq!(rig.changed_states().await, 0);

    // What waits for its turn is a probe, too; when enough go well, the incident is over.
    rig.answer(|_| good());
    for connection in &connections {
        let trial = test_connection(&rig, *connection, Duration::from_secs(5)).await.unwrap();
        assert!(trial.outcomes().all(|(_, outcome)| outcome.unwrap().as_str() == "fresh"));
    }
    assert_eq!(open().await, 0);
    assert!(rig.run_until(long, async || rig.is_all_well().await).await);
}

#[tokio::test]
async fn api_says_that_an_incident_keeps_a_list_of_devices_back() {
    let text = format!("{PATIENT}[discovery]\npath = \"/devices\"\ndevices = \".[] | {{id}}\"");
    let t = TestApp::with(&[("mocked", &text)]).await;
    let cloud = MockServer::start().await;
    let connection = t.connect("mocked", "home", &cloud.uri()).await;
    // Probed no sooner than in ten seconds, for which no client waits.
    let ended = (1..=4).map(|other| (ConnectionId(connection.0 + other), Health::Failed("transient")));
    let now = t.app.clock.now();
    t.app.incidents.note(&"mocked".parse().unwrap(), &ended.collect(), now, None).await.unwrap();
    let key = t.key(Role::User).await;
    let request = axum::http::Request::post("/v1/connections/home/discover");
    let request = request.header("authorization", format!("Bearer {key}")).body(Body::empty()).unwrap();
    let response = http::router(t.app.clone()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let problem = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
    let (kind, detail) = (problem["type"].as_str().unwrap(), problem["detail"].as_str().unwrap());
    assert!(kind.ends_with("provider-incident"), "{problem}");
    assert!(detail.contains("fails for 4 of 4 connections since 20"), "{problem}");
    assert!(detail.contains("the next may be made in 10s; try again then"), "{problem}");
    assert_eq!(cloud.received_requests().await.unwrap().len(), 0);
}
