//! The simulated cloud through its HTTP API: responses, errors and exact counting.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use paceline::cloud::{CloudSettings, Failures, Limit, serve_until};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::sync::oneshot;

/// 2026-01-01T10:00:00Z
const START_US: i64 = 1_767_261_600_000_000;
const NO_LATENCY: RangeInclusive<u64> = 0..=0;

/// A cloud whose clock moves only when the test advances it. It ends with the runtime of the test.
struct Meadow {
    url: String,
    client: Client,
    settings: CloudSettings,
    now_us: Arc<AtomicI64>,
}

impl Meadow {
    async fn start(settings: CloudSettings) -> Self {
        let now_us = Arc::new(AtomicI64::new(START_US));
        let (sender, receiver) = oneshot::channel();
        let clock = now_us.clone();
        let server = serve_until(
            settings.clone(),
            Arc::new(move || clock.load(Ordering::SeqCst)),
            |addr| sender.send(addr).expect("the test waits for the address"),
            std::future::pending(),
        );
        tokio::spawn(server);
        let addr = receiver.await.expect("the cloud starts");
        // Fails if another test of this process installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client");
        Self { url: format!("http://{addr}"), client, settings, now_us }
    }

    async fn with_limits(limits: Vec<Limit>) -> Self {
        Self::start(CloudSettings { limits, latency_ms: NO_LATENCY, ..CloudSettings::default() }).await
    }

    fn advance(&self, time: Duration) {
        self.now_us.fetch_add(time.as_micros() as i64, Ordering::SeqCst);
    }

    async fn get_as(&self, account: u32, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.url)).bearer_auth(self.settings.key(account));
        request.send().await.expect("an answer")
    }

    async fn get(&self, path: &str) -> Response {
        self.get_as(0, path).await
    }

    async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await
    }

    async fn referee(&self) -> Value {
        self.json("/_referee").await
    }

    async fn ids(&self, account: u32) -> Vec<String> {
        let listing = self.get_as(account, "/v1/devices?size=100").await.json().await;
        listing["devices"].as_array().expect("devices").iter().map(|it| text(&it["id"]).to_owned()).collect()
    }
}

/// Reqwest is built without its `json` feature.
trait Body {
    async fn json(self) -> Value;
}

impl Body for Response {
    async fn json(self) -> Value {
        let body = self.text().await.expect("a body");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string"))
}

fn header(response: &Response, name: &str) -> String {
    response.headers().get(name).map_or_else(String::new, |it| it.to_str().expect("text").to_owned())
}

#[tokio::test]
async fn key_gives_access_to_its_own_account_only() {
    let meadow = Meadow::with_limits(vec![]).await;
    for request in [
        meadow.client.get(format!("{}/v1/devices", meadow.url)),
        meadow.client.get(format!("{}/v1/devices", meadow.url)).bearer_auth("mdw_wrong"),
    ] {
        let refused = request.send().await.expect("an answer");
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(header(&refused, "content-type"), "application/problem+json");
        assert_eq!(refused.json().await["code"], "unauthorized");
    }
    let (mine, theirs) = (meadow.ids(0).await, meadow.ids(1).await);
    let states = meadow.json(&format!("/v1/devices/state?ids={},{}", mine[0], theirs[0])).await;
    assert_eq!(text(&states["devices"][0]["id"]), mine[0]);
    assert_eq!(states["unknown"], serde_json::json!([theirs[0]]));
    assert_eq!(
        meadow.get(&format!("/v1/devices/{}/energy", theirs[1])).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(meadow.referee().await["unauthorized"], 2);
}

#[tokio::test]
async fn device_list_has_pages() {
    let meadow = Meadow::with_limits(vec![]).await;
    let page = meadow.json("/v1/devices?page=3&size=15").await;
    assert_eq!((&page["page"], &page["size"], &page["total"]), (&3.into(), &15.into(), &40.into()));
    assert_eq!(page["devices"].as_array().map(Vec::len), Some(10));
    assert_eq!(text(&page["devices"][0]["id"]), meadow.ids(0).await[30]);
    assert_eq!(meadow.json("/v1/devices?page=9&size=15").await["devices"], serde_json::json!([]));
    for wrong in ["page=0", "size=0", "size=101", "page=x"] {
        let refused = meadow.get(&format!("/v1/devices?{wrong}")).await;
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn batch_has_at_most_twenty_ids() {
    let meadow = Meadow::with_limits(vec![]).await;
    let ids = meadow.ids(0).await;
    let states = meadow.json(&format!("/v1/devices/state?ids={}", ids[..20].join(","))).await;
    let devices = states["devices"].as_array().expect("devices");
    assert_eq!((devices.len(), &states["unknown"]), (20, &serde_json::json!([])));
    for device in devices {
        assert!(device["online"].is_boolean() && device["values"].is_object(), "{device}");
        assert!(text(&device["observed_at"]).starts_with("2026-01-01T"), "{device}");
    }
    let too_many = meadow.get(&format!("/v1/devices/state?ids={}", ids[..21].join(","))).await;
    assert_eq!(too_many.status(), StatusCode::BAD_REQUEST);
    assert_eq!(too_many.json().await["code"], "too_many_ids");
    assert_eq!(meadow.get("/v1/devices/state").await.json().await["code"], "no_ids");
    assert_eq!(meadow.get("/v1/houses").await.json().await["code"], "no_such_path");
    assert_eq!(meadow.get("/elsewhere").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_inverters_and_meters_have_energy() {
    let meadow = Meadow::with_limits(vec![]).await;
    for id in &meadow.ids(0).await[..5] {
        let energy = meadow.get(&format!("/v1/devices/{id}/energy")).await;
        if id.starts_with("pv-") || id.starts_with("pm-") {
            let energy = energy.json().await;
            assert!(energy["energy_total_kwh"].as_f64() > energy["energy_today_kwh"].as_f64(), "{energy}");
        } else {
            assert_eq!(energy.status(), StatusCode::NOT_FOUND);
            assert_eq!(energy.json().await["code"], "no_energy");
        }
    }
}

#[tokio::test]
async fn request_over_the_limit_is_refused_until_the_oldest_leaves_the_window() {
    let meadow = Meadow::with_limits(vec![Limit::account(5, 10_000), Limit::account(8, 60_000)]).await;
    for left in (0..5).rev() {
        let answer = meadow.get("/v1/devices").await;
        assert_eq!((answer.status(), header(&answer, "x-ratelimit-limit")), (StatusCode::OK, "5".to_owned()));
        assert_eq!(header(&answer, "x-ratelimit-remaining"), left.to_string());
        assert_eq!(header(&answer, "x-ratelimit-policy"), "account:5/10s");
        meadow.advance(Duration::from_millis(500));
    }
    // 2.5 s after the first of five, which leaves in 7.5 s: rounded up to 8.
    let refused = meadow.get("/v1/devices").await;
    assert_eq!(
        (refused.status(), header(&refused, "retry-after")),
        (StatusCode::TOO_MANY_REQUESTS, "8".to_owned())
    );
    let problem = refused.json().await;
    assert_eq!((text(&problem["code"]), text(&problem["limit"])), ("rate_limited", "account:5/10s"));

    meadow.advance(Duration::from_micros(7_499_999));
    assert_eq!(meadow.get("/v1/devices").await.status(), StatusCode::TOO_MANY_REQUESTS);
    meadow.advance(Duration::from_micros(1));
    assert_eq!(meadow.get("/v1/devices").await.status(), StatusCode::OK, "refused requests are not counted");
    assert_eq!(
        meadow.get_as(1, "/v1/devices").await.status(),
        StatusCode::OK,
        "each account is counted separately"
    );

    let referee = meadow.referee().await;
    assert_eq!(
        (&referee["requests"], &referee["admitted"], &referee["throttled"]),
        (&9.into(), &7.into(), &2.into())
    );
    assert_eq!((&referee["limits"][0]["peak"], &referee["limits"][0]["throttled"]), (&5.into(), &2.into()));
}

#[tokio::test]
async fn concurrent_requests_get_exactly_the_limit() {
    let meadow = Meadow::with_limits(vec![Limit::account(30, 10_000), Limit::app(70, 1_000)]).await;
    let calls = (0..300).map(|n| meadow.get_as(n % 3, "/v1/devices?size=1"));
    let statuses: Vec<StatusCode> =
        futures::future::join_all(calls).await.iter().map(Response::status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::OK).count(), 70);

    let referee = meadow.referee().await;
    assert_eq!(referee["throttled"], 230);
    for limit in referee["limits"].as_array().expect("limits") {
        assert!(limit["peak"].as_u64() <= limit["amount"].as_u64(), "{limit}");
    }
    assert_eq!(referee["limits"][1]["peak"], 70);
}

#[tokio::test]
async fn responses_depend_on_seed_and_time_only() {
    let responses = async |seed| {
        let settings =
            CloudSettings { seed, limits: vec![], latency_ms: NO_LATENCY, ..CloudSettings::default() };
        let meadow = Meadow::start(settings).await;
        let ids = meadow.ids(2).await[..20].join(",");
        let now = meadow.get_as(2, &format!("/v1/devices/state?ids={ids}")).await.json().await;
        meadow.advance(Duration::from_secs(600));
        (now, meadow.get_as(2, &format!("/v1/devices/state?ids={ids}")).await.json().await)
    };
    let (one, again, other) = (responses(7).await, responses(7).await, responses(8).await);
    assert_eq!(one, again);
    assert_ne!(one.0, other.0);
    assert_ne!(one.0, one.1, "time passes");
}

#[tokio::test]
async fn failures_are_injected_as_configured() {
    let failing = async |failures| {
        let settings =
            CloudSettings { failures, limits: vec![], latency_ms: NO_LATENCY, ..CloudSettings::default() };
        let meadow = Meadow::start(settings).await;
        let request =
            meadow.client.get(format!("{}/v1/devices", meadow.url)).bearer_auth(meadow.settings.key(0));
        let answer = request.send().await;
        (answer, meadow.referee().await["injected"].clone())
    };
    let none = Failures::default();

    let (answer, injected) = failing(Failures { error_share: 1.0, ..none }).await;
    assert_eq!(
        (answer.expect("an answer").status(), &injected["error"]),
        (StatusCode::INTERNAL_SERVER_ERROR, &1.into())
    );

    let (answer, _) = failing(Failures { garbage_share: 1.0, ..none }).await;
    let body = answer.expect("an answer").bytes().await.expect("a body");
    assert!(serde_json::from_slice::<Value>(&body).is_err(), "{body:?}");

    let (answer, _) = failing(Failures { drop_share: 1.0, ..none }).await;
    assert!(answer.is_err_and(|error| !error.is_timeout()));

    let (answer, injected) =
        failing(Failures { hang_share: 1.0, hang: Duration::from_millis(50), ..none }).await;
    assert!(answer.is_err());
    // A client may repeat a request if its connection closed before any response.
    assert!(injected["hung"].as_u64() >= Some(1));
}
