//! The HTTP API, as clients see it.

mod access;
mod accounts;
mod bad_input;
mod browsers;
mod bulk;
mod choices;
mod defaults;
mod history;
mod idempotency;
mod key_limits;
mod lifecycle;
mod lists;
mod open_connections;
mod outage;
mod preference;
mod problems;
mod providers;
mod reading;
mod refresh;
mod refreshes;
mod replica;
mod roles;
mod serving;
mod stream;
mod tenant_limits;
mod webhooks;
mod windows;

use crate::support::TestApp;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use paceline::app::App;
use paceline::http;
use paceline::preference::{connections, devices, keys, tenants};
use paceline::record::{self, Observation};
use paceline::words::{CallId, DeviceId, JobId, Priority, Record, Role, TenantId};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;
use tower::ServiceExt;

const TIMEOUT: Duration = Duration::from_secs(30);
/// The connection's secret in these tests; no response may contain it.
const SECRET: &str = "s3cret";

const PROVIDER: &str = r#"
title = "Test"
[http]
base_url = "{{ params.base_url }}"
[resource.state]
interval_min = "5s"
interval_default = "1m"
path = "/state"
records = "."
[resource.energy]
interval_min = "10s"
interval_default = "5m"
path = "/energy"
records = "."
"#;

/// A tenant with some devices, and a router.
struct Api {
    test: TestApp,
    router: Router,
    devices: Vec<DeviceId>,
}

/// A response.
#[derive(Debug)]
struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Api {
    /// A tenant with `count` devices, each with a `state` job of 30 s.
    async fn with_devices(count: usize) -> Self {
        let test = TestApp::with(&[("testcloud", PROVIDER)]).await;
        let connection = test.connect("testcloud", "home", "http://cloud.invalid").await;
        let devices = test.add_devices("testcloud", connection, count, "30s").await;
        let router = http::router(test.app.clone());
        Self { test, router, devices }
    }

    fn app(&self) -> &App {
        &self.test.app
    }

    async fn get(&self, path: &str, key: &str) -> Response {
        send(&self.router, request("GET", path).header(header::AUTHORIZATION, bearer(key)), Body::empty())
            .await
    }

    async fn put(&self, path: &str, key: &str, body: Value) -> Response {
        put(&self.router, path, key, body).await
    }

    async fn refresh(&self, device: DeviceId, resource: &str, key: &str) -> Response {
        refresh(&self.router, device, resource, key).await
    }

    /// Another tenant with a device of its own, and a key.
    async fn stranger(&self, role: Role) -> (TenantId, DeviceId, String) {
        let app = self.app();
        let tenant = tenants::ensure(&app.pool, "stranger").await.unwrap();
        let provider = "testcloud".parse().unwrap();
        let new = connections::NewConnection {
            tenant,
            provider,
            label: "theirs".parse().unwrap(),
            params: Default::default(),
            secrets: paceline::words::Secrets::default(),
        };
        let account = devices::TenantConnection {
            tenant,
            provider: new.provider.clone(),
            connection: connections::add(&app.pool, &app.sealer, new).await.unwrap(),
        };
        let job = ("state".parse().unwrap(), "30s".parse().unwrap(), Priority::Normal);
        let device = devices::NewDevice {
            external_id: "theirs".to_owned(),
            name: "Theirs".to_owned(),
            group: "attic".to_owned(),
            jobs: vec![job],
        };
        let ids = devices::add(&app.pool, &account, &[device]).await.unwrap();
        let (_, key) =
            keys::create(&app.pool, keys::Principal { tenant, role }, "theirs", None).await.unwrap();
        (tenant, ids[0], key.expose_secret().to_owned())
    }

    /// Records a value of a device's `state`, fetched so long ago.
    async fn record(&self, device: DeviceId, age_ms: i64, values: Value) {
        let Value::Object(values) = values else { panic!("values are an object") };
        let job = sqlx::query_scalar::<_, i64>(
            "SELECT job_id FROM jobs WHERE device_id = $1 AND resource = 'state'",
        )
        .bind(device.0)
        .fetch_one(&self.app().pool)
        .await
        .unwrap();
        let fetched_at = self.app().clock.now().plus_ms(-age_ms);
        let record =
            Record { external_id: None, observed_at: Some(fetched_at.plus_ms(-500)), online: true, values };
        let observation = Observation {
            tenant: self.test.tenant,
            device,
            resource: "state".parse().unwrap(),
            job: JobId(job),
            call: CallId(7),
            fetched_at,
            record: Some(record),
            has_data: true,
            online: Some(true),
            validator: None,
            stale_after: None,
            offline_after: None,
            older_replaces: false,
        };
        record::write(&self.app().pool, &[observation]).await.unwrap();
    }
}

impl Response {
    fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    fn problem(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default().trim_start_matches("urn:paceline:problem:")
    }
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path)
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

async fn put(router: &Router, path: &str, key: &str, body: Value) -> Response {
    let request = request("PUT", path)
        .header(header::AUTHORIZATION, bearer(key))
        .header(header::CONTENT_TYPE, "application/json");
    send(router, request, Body::from(body.to_string())).await
}

async fn refresh(router: &Router, device: DeviceId, resource: &str, key: &str) -> Response {
    let path = format!("/v1/devices/{device}/jobs/{resource}/refresh");
    let request = request("POST", &path).header(header::AUTHORIZATION, bearer(key));
    send(router, request, Body::empty()).await
}

/// Sends a request and checks what applies to every response: errors are problem documents, and it has no secret.
async fn send(router: &Router, request: axum::http::request::Builder, body: Body) -> Response {
    let answered = router.clone().oneshot(request.body(body).unwrap());
    let (parts, body) = timeout(TIMEOUT, answered).await.unwrap().unwrap().into_parts();
    let text = String::from_utf8(to_bytes(body, 10 << 20).await.unwrap().to_vec()).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    let response = Response {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_str(&text).unwrap_or(Value::Null),
    };
    if !response.status.is_success() {
        assert_eq!(response.headers[header::CONTENT_TYPE], "application/problem+json", "{text}");
        assert_eq!(response.body["status"], response.status.as_u16(), "{text}");
        assert!(response.body["type"].as_str().unwrap().starts_with("urn:paceline:problem:"), "{text}");
        assert!(response.body["title"].is_string() && response.detail().len() > 20, "{text}");
    }
    response
}

/// Repeats a request until its response matches.
async fn until(mut request: impl AsyncFnMut() -> Response, matches: impl Fn(&Response) -> bool) -> Response {
    let repeat = async {
        loop {
            let response = request().await;
            if matches(&response) {
                return response;
            }
        }
    };
    timeout(TIMEOUT, repeat).await.expect("a matching response")
}
