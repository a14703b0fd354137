//! Which devices a connection has, as its cloud lists them.

mod names;
mod scope;

use crate::journey::Rig;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use paceline::adhoc::AdHocError;
use paceline::discovery::{self, DiscoverError, DiscoverRequest};
use paceline::preference::devices::TenantConnection;
use paceline::preference::discovered::{self, Changes, DeviceList};
use paceline::preference::discovery_claim;
use paceline::words::{DeviceId, Role};
use paceline::{http, keep, postgres};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use wiremock::{Mock, Request as Asked, ResponseTemplate, matchers};

const LISTED: &str = r#"
title = "ListedDevice"
[http]
base_url = "{{ params.base_url }}"
timeout = "2s"
[auth]
kind = "bearer"
[[quota]]
name = "minute"
scope = "connection"
amount = 600
window = "1m"
burst = 100
[discovery]
path = "/devices"
devices = ".devices[] | {id, name, group: .home, model: .kind, resources: .can}"
pages = { by = "cursor", param = "after", max = 3, next = ".next" }
[resource.state]
interval_min = "1s"
interval_default = "1h"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
[resource.energy]
by_default = false
interval_min = "1s"
interval_default = "2h"
path = "/devices/{{ device.external_id }}/energy"
records = "{values: {w: .w}}"
"#;

async fn list(rig: &Rig, devices: Value) {
    rig.answer(ResponseTemplate::new(200).set_body_json(json!({"devices": devices}))).await;
}

fn request(rig: &Rig) -> DiscoverRequest {
    DiscoverRequest {
        provider: rig.t.app.registry.get(rig.provider).unwrap().clone(),
        tenant: rig.t.tenant,
        connection: rig.connection,
        timeout: Duration::from_secs(1),
        dry_run: false,
    }
}

async fn discover_due(rig: &Rig) -> usize {
    discovery::discover_due(&rig.t.app).await.unwrap()
}

async fn discover(rig: &Rig) -> Result<Changes, DiscoverError> {
    discovery::discover(&rig.t.app, request(rig)).await
}

/// external id, name, group, model, whether it is missing, resources; by id.
async fn kept(rig: &Rig) -> Vec<(String, String, String, String, bool, String)> {
    sqlx::query_as(
        "SELECT external_id, name, group_key, model, missing_since IS NOT NULL,
                coalesce((SELECT string_agg(resource || ' ' || interval_ms || ' ' || state, ',' ORDER BY resource)
                          FROM jobs j WHERE j.device_id = d.device_id), '')
         FROM devices d ORDER BY external_id",
    )
    .fetch_all(&rig.t.app.pool)
    .await
    .unwrap()
}

fn row(
    id: &str,
    name: &str,
    group: &str,
    model: &str,
    missing: bool,
    jobs: &str,
) -> (String, String, String, String, bool, String) {
    let text = str::to_owned;
    (text(id), text(name), text(group), text(model), missing, text(jobs))
}

const STATE: &str = "state 3600000 active";

#[tokio::test]
async fn devices_appear_vanish_and_come_back_and_none_is_deleted() {
    let rig = Rig::new(LISTED, 0).await;
    let a = json!({"id": "a", "name": "Hall", "home": "h1", "kind": "m1"});
    let b = json!({"id": 7, "name": null, "can": ["energy", "state"]});
    list(&rig, json!([a, b])).await;
    let changes = discover(&rig).await.unwrap();
    assert_eq!((changes.listed, changes.new.len()), (2, 2));
    let both = "energy 7200000 active,state 3600000 active";
    assert_eq!(
        kept(&rig).await,
        [row("7", "", "", "", false, both), row("a", "Hall", "h1", "m1", false, STATE)]
    );
    // They are on the schedule at once.
    let report = rig.check().await;
    assert!(report.clean && report.scheduled == 3, "{report:?}");

    // Its owner's name stays; what it moved to, and what it is, follows the list.
    sqlx::query("UPDATE devices SET name = 'Mine', name_origin = 'owner' WHERE external_id = 'a'")
        .execute(&rig.t.app.pool)
        .await
        .unwrap();
    let moved = json!({"id": "a", "name": "Hall", "home": "h2", "kind": "m2"});
    list(&rig, json!([moved])).await;
    let changes = discover(&rig).await.unwrap();
    assert_eq!((changes.missing, changes.changed), (vec!["7".to_owned()], vec!["a".to_owned()]));
    assert_eq!(
        kept(&rig).await,
        [row("7", "", "", "", true, both), row("a", "Mine", "h2", "m2", false, STATE)]
    );
    let report = rig.check().await;
    assert!(report.clean && report.scheduled == 3, "what is missing is fetched as before: {report:?}");

    // Told once; and taken back.
    assert_eq!(discover(&rig).await.unwrap(), Changes { listed: 1, ..Changes::default() });
    list(&rig, json!([moved, b, b])).await;
    let changes = discover(&rig).await.unwrap();
    assert_eq!(changes, Changes { listed: 2, found_again: vec!["7".to_owned()], ..Changes::default() });
    assert!(kept(&rig).await.iter().all(|(.., missing, _)| !missing));
}

#[tokio::test]
async fn a_list_that_is_none_changes_nothing() {
    let rig = Rig::new(LISTED, 1).await;
    let before = kept(&rig).await;
    let json = |body: Value| ResponseTemplate::new(200).set_body_json(body);
    for (answer, says) in [
        (ResponseTemplate::new(500), "transient: HTTP 500"),
        (
            ResponseTemplate::new(401).set_body_string("no such key: s3cret"),
            "unauthorized: HTTP 401: no such key: ***",
        ),
        (ResponseTemplate::new(404), "gone: HTTP 404"),
        (ResponseTemplate::new(304), "broken: HTTP 304 to a request that was not conditional"),
        (
            ResponseTemplate::new(200).set_body_string("<html>Sign in</html>"),
            "broken: the response is not JSON",
        ),
        (json(json!({"error": "later"})), "broken: devices failed"),
        (
            json(json!({"devices": [{"id": "new"}, {"name": "no id"}]})),
            "broken: devices yields a device without id",
        ),
        (json(json!({"devices": [{"id": "new", "can": ["humidity"]}]})), "broken: devices yields resource"),
        (
            ResponseTemplate::new(200).set_delay(Duration::from_secs(3)),
            "transient: no response within the timeout",
        ),
    ] {
        rig.answer(answer).await;
        let error = discover(&rig).await.unwrap_err().to_string();
        assert!(error.starts_with("the cloud gave no list: ") && error.contains(says), "{says}: {error}");
        let noted: String = sqlx::query_scalar("SELECT discovery_error FROM connections")
            .fetch_one(&rig.t.app.pool)
            .await
            .unwrap();
        assert!(noted.starts_with(says) && !noted.contains("s3cret"), "{noted}");
        assert_eq!(kept(&rig).await, before, "{says}");
    }
    // Half of it is none, either.
    rig.cloud.reset().await;
    let first = json(json!({"devices": [{"id": "new"}], "next": "x"}));
    let second = ResponseTemplate::new(502);
    Mock::given(matchers::query_param("after", "x")).respond_with(second).expect(1).mount(&rig.cloud).await;
    Mock::given(matchers::path("/devices")).respond_with(first).expect(1).mount(&rig.cloud).await;
    assert!(discover(&rig).await.unwrap_err().to_string().contains("transient: HTTP 502"));
    assert_eq!(kept(&rig).await, before);
    // A refusal holds the account, as any call's does.
    rig.answer(ResponseTemplate::new(429).insert_header("retry-after", "120")).await;
    assert!(discover(&rig).await.unwrap_err().to_string().contains("throttled"));
    let error = discover(&rig).await.unwrap_err();
    assert!(
        matches!(&error, DiscoverError::NotSent(AdHocError::NotYet { by, .. }) if by.contains("HTTP 429")),
        "{error:?}"
    );
    assert_eq!(rig.cloud.received_requests().await.unwrap().len(), 1);
    assert_eq!(kept(&rig).await, before);
}

/// Two a hour, each page of the list counts.
const SCARCE: &str = r#"
title = "Scarce"
[http]
base_url = "{{ params.base_url }}"
[[quota]]
name = "hour"
scope = "connection"
amount = 2
window = "1h"
burst = 2
resources = ["discovery"]
[discovery]
path = "/devices"
devices = ".devices[]"
pages = { by = "cursor", param = "after", max = 2, next = ".next" }
[resource.state]
interval_min = "1s"
interval_default = "1h"
path = "/state"
records = "."
"#;

#[tokio::test]
async fn the_list_is_asked_for_under_the_quotas_that_count_it() {
    let rig = Rig::new(SCARCE, 0).await;
    list(&rig, json!([{"id": "a"}])).await;
    assert_eq!(discover(&rig).await.unwrap().new.len(), 1);
    let error = discover(&rig).await.unwrap_err().to_string();
    assert!(error.starts_with("nothing was sent: hour lets no call through for another"), "{error}");
    assert_eq!(rig.cloud.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn lists_are_asked_for_by_themselves_once_in_a_while() {
    let rig = Rig::new(LISTED, 0).await;
    list(&rig, json!([{"id": "a"}])).await;
    assert_eq!(discovery::discover_due(&rig.t.app).await.unwrap(), 1);
    assert_eq!(discovery::discover_due(&rig.t.app).await.unwrap(), 0);
    assert_eq!(kept(&rig).await, [row("a", "", "", "", false, STATE)]);
    let pass = async |hours: f64| {
        let sooner = "UPDATE connections SET discovery_at = discovery_at - make_interval(secs => $1),
                             discovery_retry_at = discovery_retry_at - make_interval(secs => $1)";
        sqlx::query(sooner).bind(hours * 3600.0).execute(&rig.t.app.pool).await.unwrap();
    };
    pass(23.0).await;
    assert_eq!(discovery::discover_due(&rig.t.app).await.unwrap(), 0);
    pass(1.1).await;
    // One that fails is asked for again sooner.
    rig.answer(ResponseTemplate::new(500)).await;
    assert_eq!(discovery::discover_due(&rig.t.app).await.unwrap(), 1);
    assert_eq!(discovery::discover_due(&rig.t.app).await.unwrap(), 0);
    pass(1.1).await;
    list(&rig, json!([])).await;
    assert_eq!(discovery::discover_due(&rig.t.app).await.unwrap(), 1);
    assert_eq!(kept(&rig).await, [row("a", "", "", "", true, STATE)]);
    // One that waits for its owner is left alone; and so is every one where the operator says so.
    pass(25.0).await;
    let state = |state: &'static str| sqlx::query("UPDATE connections SET state = $1").bind(state);
    state("needs_reauth").execute(&rig.t.app.pool).await.unwrap();
    assert_eq!(discovery::discover_due(&rig.t.app).await.unwrap(), 0);
    assert!(matches!(discover(&rig).await, Err(DiscoverError::NotSent(AdHocError::Unusable))));
    state("active").execute(&rig.t.app.pool).await.unwrap();
    let mut app = rig.t.app.clone();
    app.settings.discovery.automatic = false;
    assert_eq!(discovery::discover_due(&app).await.unwrap(), 0);
}

#[tokio::test]
async fn connections_that_cannot_be_asked_leave_their_turn_to_others() {
    let rig = Rig::new(LISTED, 0).await;
    rig.answer(ResponseTemplate::new(429).insert_header("retry-after", "7200")).await;
    for n in 0..25 {
        let connection = rig.t.connect(rig.provider, &format!("held {n}"), &rig.cloud.uri()).await;
        let held = DiscoverRequest { connection, ..request(&rig) };
        assert!(discovery::discover(&rig.t.app, held).await.unwrap_err().to_string().contains("throttled"));
    }
    // As though nobody had tried: their holds are all that is known of them.
    let untried = "UPDATE connections SET discovery_at = NULL, discovery_error = NULL, discovery_failures = 0,
                          discovery_retry_at = NULL, created_at = now() - interval '1 day' WHERE label LIKE 'held%'";
    sqlx::query(untried).execute(&rig.t.app.pool).await.unwrap();
    list(&rig, json!([{"id": "a"}])).await;
    let tried = [discover_due(&rig).await, discover_due(&rig).await, discover_due(&rig).await];
    assert_eq!(tried, [20, 6, 0]);
    assert_eq!(kept(&rig).await, [row("a", "", "", "", false, STATE)]);
    assert_eq!(
        rig.cloud.received_requests().await.unwrap().len(),
        1,
        "nothing is sent for those that are held"
    );
}

#[tokio::test]
async fn a_claim_of_a_dead_process_expires_and_its_late_list_changes_nothing() {
    let rig = Rig::new(LISTED, 0).await;
    let app = &rig.t.app;
    let (names, day, minutes) =
        (["mocked".to_owned()], Duration::from_secs(86_400), Duration::from_secs(600));
    let claimed = discovery_claim::claim_due(&app.pool, &names, day, minutes, 20).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(discover_due(&rig).await, 0, "it is being listed");
    sqlx::query("UPDATE connections SET discovery_retry_at = now()").execute(&app.pool).await.unwrap();
    list(&rig, json!([{"id": "a"}])).await;
    assert_eq!(discover_due(&rig).await, 1);
    let account = TenantConnection {
        tenant: rig.t.tenant,
        connection: rig.connection,
        provider: "mocked".parse().unwrap(),
    };
    let now = discovered::now(&app.pool).await.unwrap();
    let none = DeviceList { devices: &[], id_prefix: "", asked_at: now, devices_max: 10 };
    let late =
        discovered::apply(&app.pool, &account, claimed[0].0, none, &|_| Vec::new(), &|_| None).await.unwrap();
    assert!(late.is_none());
    discovery_claim::failed(&app.pool, claimed[0].0, "late", day).await.unwrap();
    assert_eq!(kept(&rig).await, [row("a", "", "", "", false, STATE)]);
    let noted: Option<String> =
        sqlx::query_scalar("SELECT discovery_error FROM connections").fetch_one(&app.pool).await.unwrap();
    assert_eq!(noted, None);
}

#[tokio::test]
async fn api_answers_from_a_single_connection_to_postgres_while_clouds_are_asked() {
    let patient = LISTED.replace("timeout = \"2s\"", "timeout = \"60s\"");
    let mut rig = Rig::new(patient.leak(), 0).await;
    let cloud = RawCloud::start(false).await;
    for n in 0..5 {
        rig.t.connect(rig.provider, &format!("more {n}"), &cloud.url).await;
    }
    let key = rig.t.key(Role::Reader).await;
    rig.t.app.pool = postgres::connect(&rig.t.database_url, 1).await.unwrap();
    let app = rig.t.app.clone();
    let listing = tokio::spawn(async move { discovery::discover_due(&app).await.unwrap() });
    let in_time = Duration::from_secs(30);
    // As many as are asked for at once.
    let asked = tokio::time::timeout(in_time, cloud.asked.acquire_many(4)).await;
    asked.expect("lists are asked for").unwrap().forget();
    let request = Request::builder().uri("/v1/connections").header("authorization", format!("Bearer {key}"));
    let answer = http::router(rig.t.app.clone()).oneshot(request.body(Body::empty()).unwrap());
    let answer = tokio::time::timeout(in_time, answer).await.expect("an answer meanwhile");
    let (head, body) = answer.unwrap().into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    assert_eq!(head.status, StatusCode::OK, "{}", String::from_utf8_lossy(&body));
    assert!(!listing.is_finished());
    cloud.answers.send_replace(true);
    assert_eq!(listing.await.unwrap(), 6);
}

#[tokio::test]
async fn housekeeping_that_another_does_waits_for_nobody_and_binds_no_connection_of_the_pool() {
    let mut rig = Rig::new(LISTED, 0).await;
    rig.t.app.pool = postgres::connect(&rig.t.database_url, 1).await.unwrap();
    let app = &rig.t.app;
    let provider: paceline::words::ProviderName = "mocked".parse().unwrap();
    let mut lose = redis::cmd("DEL");
    lose.arg(format!("{}meta", app.keys.anchor(&provider)));
    let _: i64 = lose.query_async(&mut app.redis.link()).await.unwrap();
    let name = format!("paceline rebuild {provider} {}", app.keys.anchor(&provider));
    let held = postgres::try_lock(&app.pool, &name).await.unwrap().expect("it is free");
    assert_eq!(keep::rebuild_if_lost(app, &provider).await.unwrap(), keep::Rebuild::UnderWay);
    held.release().await;
    assert_eq!(keep::rebuild_if_lost(app, &provider).await.unwrap(), keep::Rebuild::Done(0));
}

#[tokio::test]
async fn the_api_lists_and_shows_what_is_missing() {
    let rig = Rig::new(LISTED, 0).await;
    let (user, reader) = (rig.t.key(Role::User).await, rig.t.key(Role::Reader).await);
    let ask = async |method: &str, path: &str, key: &str| {
        let request =
            Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
        let answer =
            http::router(rig.t.app.clone()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (status, body) = (answer.status(), to_bytes(answer.into_body(), 1 << 20).await.unwrap());
        (status, serde_json::from_slice::<Value>(&body).unwrap())
    };
    list(&rig, json!([{"id": "a", "name": "Hall", "kind": "m1"}])).await;
    let (status, body) = ask("POST", "/v1/connections/main/discover?dry_run=true", &user).await;
    let new = json!([{"external_id": "a", "name": "Hall", "group": null, "model": "m1"}]);
    let expected = json!({"dry_run": true, "listed": 1, "new": new, "found_again": [], "missing": [],
               "changed": [], "removed": [], "left_out": []});
    assert_eq!((status, body), (StatusCode::OK, expected));
    assert!(kept(&rig).await.is_empty());
    let path = format!("/v1/connections/{}/discover", rig.connection);
    assert_eq!(ask("POST", &path, &user).await.1["new"], new);
    let device: i64 =
        sqlx::query_scalar("SELECT device_id FROM devices").fetch_one(&rig.t.app.pool).await.unwrap();
    let device = format!("/v1/devices/{}", DeviceId(device));
    let (_, shown) = ask("GET", &device, &reader).await;
    assert_eq!((&shown["model"], &shown["missing_since"]), (&json!("m1"), &Value::Null));
    list(&rig, json!([])).await;
    assert_eq!(ask("POST", &path, &user).await.1["missing"], json!(["a"]));
    // Not as the cache had it.
    let (_, shown) = ask("GET", &device, &reader).await;
    assert!(shown["missing_since"].as_str().is_some_and(|at| at.ends_with('Z')), "{shown}");

    rig.answer(ResponseTemplate::new(500)).await;
    for (path, key, status, says) in [
        (path.as_str(), &reader, StatusCode::FORBIDDEN, "role user"),
        (path.as_str(), &user, StatusCode::BAD_GATEWAY, "transient: HTTP 500"),
        ("/v1/connections/nowhere/discover", &user, StatusCode::NOT_FOUND, "no connection nowhere"),
        ("/v1/connections/%00/discover", &user, StatusCode::NOT_FOUND, "no connection"),
        ("/v1/connections/main/discover?dry=1", &user, StatusCode::BAD_REQUEST, "unknown field"),
    ] {
        let (answered, body) = ask("POST", path, key).await;
        let detail = body["detail"].as_str().unwrap_or_default();
        assert!(answered == status && detail.contains(says), "{path}: {answered} {detail}");
    }
    // Somebody else's is as good as none.
    let stranger = paceline::preference::tenants::ensure(&rig.t.app.pool, "stranger").await.unwrap();
    let who = paceline::preference::keys::Principal { tenant: stranger, role: Role::User };
    let key = paceline::preference::keys::create(&rig.t.app.pool, who, "theirs", None).await.unwrap().1;
    let key = secrecy::ExposeSecret::expose_secret(&key).to_owned();
    for path in [path.as_str(), "/v1/connections/main/discover"] {
        assert_eq!(ask("POST", path, &key).await.0, StatusCode::NOT_FOUND);
    }
}

/// How many calls are leased.
async fn leases(rig: &Rig) -> i64 {
    let name = rig.provider.parse().unwrap();
    let mut count = redis::cmd("ZCARD");
    count.arg(format!("{}leases", rig.t.app.keys.anchor(&name)));
    count.query_async(&mut rig.t.app.redis.link()).await.unwrap()
}

/// Asks the API for a list over a TCP connection, and closes that once the cloud has been asked.
async fn ask_and_go_away(rig: &Rig, answer: ResponseTemplate) {
    let asked = Arc::new(Notify::new());
    let notify = asked.clone();
    let slow = answer.set_delay(Duration::from_millis(500));
    rig.cloud.reset().await;
    Mock::given(matchers::method("GET"))
        .respond_with(move |_: &Asked| {
            notify.notify_one();
            slow.clone()
        })
        .mount(&rig.cloud)
        .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (at, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let api = tokio::spawn(http::serve(rig.t.app.clone(), listener, stop.clone()));
    let key = rig.t.key(Role::User).await;
    let mut client = TcpStream::connect(at).await.unwrap();
    let request = format!(
        "POST /v1/connections/main/discover HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    asked.notified().await;
    drop(client);
    stop.cancel();
    api.await.unwrap();
    rig.t.app.detached.close();
    rig.t.app.detached.wait().await;
}

#[tokio::test]
async fn a_list_is_kept_and_settled_although_the_client_has_disconnected() {
    let rig = Rig::new(LISTED, 0).await;
    let devices = json!({"devices": [{"id": "a"}]});
    ask_and_go_away(&rig, ResponseTemplate::new(200).set_body_json(devices)).await;
    assert_eq!(kept(&rig).await, [row("a", "", "", "", false, STATE)]);
    assert_eq!(leases(&rig).await, 0);
}

#[tokio::test]
async fn a_hold_is_kept_although_the_client_has_disconnected() {
    let rig = Rig::new(LISTED, 0).await;
    ask_and_go_away(&rig, ResponseTemplate::new(429).insert_header("retry-after", "120")).await;
    assert_eq!(leases(&rig).await, 0);
    let error = discover(&rig).await.unwrap_err().to_string();
    assert!(error.contains("HTTP 429"), "{error}");
}

#[tokio::test]
async fn a_client_that_disconnects_while_its_call_waits_for_the_quota_has_nothing_sent() {
    let rig = Rig::new(SCARCE, 0).await;
    list(&rig, json!([])).await;
    discover(&rig).await.unwrap();
    let request = DiscoverRequest { timeout: Duration::from_secs(24 * 3600), ..request(&rig) };
    let app = rig.t.app.clone();
    let waiting = tokio::spawn(async move { discovery::discover(&app, request).await });
    let detached = async {
        while rig.t.app.detached.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), detached).await.expect("it is a detached task");
    waiting.abort();
    rig.t.app.detached.close();
    tokio::time::timeout(Duration::from_secs(10), rig.t.app.detached.wait()).await.expect("it stops waiting");
    assert_eq!(rig.cloud.received_requests().await.unwrap().len(), 1);
    assert_eq!(leases(&rig).await, 0);
}

/// A cloud without devices that counts the TCP connections to it, and answers when the test says so.
struct RawCloud {
    url: String,
    connections: Arc<AtomicUsize>,
    /// One permit per request.
    asked: Arc<Semaphore>,
    answers: watch::Sender<bool>,
}

impl RawCloud {
    async fn start(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, answers) =
            (format!("http://{}", listener.local_addr().unwrap()), watch::Sender::new(answers));
        let (connections, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let cloud = Self { url, connections: connections.clone(), asked: asked.clone(), answers };
        let gate = cloud.answers.subscribe();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(Self::answer(stream, asked.clone(), gate.clone()));
            }
        });
        cloud
    }

    async fn answer(mut stream: TcpStream, asked: Arc<Semaphore>, mut gate: watch::Receiver<bool>) {
        let (mut request, mut some) = (Vec::new(), [0; 1024]);
        while let Ok(read @ 1..) = stream.read(&mut some).await {
            request.extend_from_slice(&some[..read]);
            if request.ends_with(b"\r\n\r\n") {
                request.clear();
                asked.add_permits(1);
                if gate.wait_for(|answers| *answers).await.is_err() {
                    return;
                }
                let body = r#"{"devices":[]}"#;
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn all_calls_of_a_provider_share_one_client() {
    let rig = Rig::new(LISTED, 0).await;
    let cloud = RawCloud::start(true).await;
    let connection = rig.t.connect(rig.provider, "counted", &cloud.url).await;
    for _ in 0..3 {
        let request = DiscoverRequest { connection, ..request(&rig) };
        assert_eq!(discovery::discover(&rig.t.app, request).await.unwrap().listed, 0);
    }
    assert_eq!(cloud.connections.load(Ordering::Relaxed), 1, "the HTTP connection is used again");
    let provider = rig.t.app.registry.get(rig.provider).unwrap();
    let [one, other] = [&rig.t.app, &rig.t.app.clone()].map(|app| app.client(provider).unwrap());
    assert!(Arc::ptr_eq(&one, &other));
}
