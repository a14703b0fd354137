//! Webhooks, with a receiver of our own.

mod deliveries;
mod keepers;
mod managed;

use super::*;
use axum::extract::{Request as Received, State};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use paceline::settings::Settings;
use paceline::webhook::{self, Due};
use sha2::Sha256;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// A server that records what is posted to it, and answers as it is asked to, or else 200.
struct Receiver {
    url: String,
    posts: UnboundedReceiver<Post>,
    answers: Answers,
}

type Answers = Arc<Mutex<VecDeque<Answer>>>;

enum Answer {
    Status(u16),
    With(u16, &'static str, String),
    /// Never.
    Hang,
}

/// What was posted.
#[derive(Debug, Clone)]
struct Post {
    id: String,
    timestamp: String,
    signatures: String,
    text: String,
    body: Value,
}

impl Receiver {
    async fn start() -> Self {
        let (sender, posts) = unbounded_channel();
        let answers = Answers::default();
        let router = Router::new().fallback(receive).with_state((sender, answers.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, posts, answers }
    }

    fn answer(&self, with: impl IntoIterator<Item = Answer>) {
        self.answers.lock().unwrap().extend(with);
    }

    async fn next(&mut self) -> Post {
        timeout(TIMEOUT, self.posts.recv()).await.expect("a post in time").expect("the receiver runs")
    }

    /// What was posted since the last time that somebody asked.
    fn all(&mut self) -> Vec<Post> {
        std::iter::from_fn(|| self.posts.try_recv().ok()).collect()
    }
}

async fn receive(
    State((posts, answers)): State<(UnboundedSender<Post>, Answers)>,
    request: Received,
) -> axum::response::Response {
    let (head, body) = request.into_parts();
    let bytes = to_bytes(body, 10 << 20).await.unwrap();
    let header = |name: &str| head.headers[name].to_str().unwrap().to_owned();
    assert_eq!((head.method.as_str(), header("content-type").as_str()), ("POST", "application/json"));
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let post = Post {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signatures: header("webhook-signature"),
        body: serde_json::from_str(&text).unwrap(),
        text,
    };
    posts.send(post).unwrap();
    let answer = answers.lock().unwrap().pop_front();
    let code = |status| StatusCode::from_u16(status).unwrap();
    match answer {
        None => StatusCode::OK.into_response(),
        Some(Answer::Status(status)) => code(status).into_response(),
        Some(Answer::With(status, name, value)) => (code(status), [(name, value)]).into_response(),
        Some(Answer::Hang) => std::future::pending().await,
    }
}

impl Post {
    /// Whether one of its signatures is by this secret, as the standard says.
    fn is_signed_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.{}", self.id, self.timestamp, self.text).as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.signatures.split(' ').any(|signature| signature == expected)
    }

    fn events(&self) -> &Vec<Value> {
        self.body["data"]["events"].as_array().unwrap()
    }

    /// The device and `n` of each reading.
    fn readings(&self) -> Vec<(i64, i64)> {
        let reading = |event: &Value| {
            assert_eq!(event["type"], "reading", "{event}");
            (event["data"]["device"].as_i64().unwrap(), event["data"]["values"]["n"].as_i64().unwrap())
        };
        self.events().iter().map(reading).collect()
    }

    fn is_resync(&self) -> bool {
        self.body["data"]["resync"] == true
    }
}

/// A tenant with devices, a key, and a receiver that may be called.
struct Rig {
    api: Api,
    key: String,
    receiver: Receiver,
}

impl Rig {
    async fn new(devices: usize) -> Self {
        Self::with(devices, |_| ()).await
    }

    async fn with(devices: usize, change: impl FnOnce(&mut Settings)) -> Self {
        let test = TestApp::with_settings(&[("testcloud", PROVIDER)], |settings| {
            settings.webhooks.private_networks = true;
            change(settings);
        })
        .await;
        let connection = test.connect("testcloud", "home", "http://cloud.invalid").await;
        let devices = test.add_devices("testcloud", connection, devices, "30s").await;
        let (router, key) = (http::router(test.app.clone()), test.key(Role::User).await);
        Self { api: Api { test, router, devices }, key, receiver: Receiver::start().await }
    }

    fn app(&self) -> &App {
        self.api.app()
    }

    /// Adds a webhook for the receiver; its number and secret.
    async fn add(&self) -> (i64, String) {
        self.add_with(json!({ "url": self.receiver.url })).await
    }

    async fn add_with(&self, body: Value) -> (i64, String) {
        let added = self.post("/v1/webhooks", body).await;
        assert_eq!(added.status, StatusCode::CREATED, "{:?}", added.body);
        (added.body["id"].as_i64().unwrap(), added.body["secret"].as_str().unwrap().to_owned())
    }

    async fn post(&self, path: &str, body: Value) -> Response {
        self.ask("POST", path, &self.key, body).await
    }

    async fn ask(&self, method: &str, path: &str, key: &str, body: Value) -> Response {
        let request = request(method, path)
            .header(header::AUTHORIZATION, bearer(key))
            .header(header::CONTENT_TYPE, "application/json");
        send(&self.api.router, request, Body::from(body.to_string())).await
    }

    async fn show(&self, id: i64) -> Value {
        self.api.get(&format!("/v1/webhooks/{id}"), &self.key).await.body
    }

    /// Lands one reading of each of these devices: `n` of the first is `first`, and so on.
    async fn land(&self, devices: std::ops::Range<usize>, first: i64) {
        for (device, n) in devices.zip(first..) {
            self.api.land(device, n).await;
        }
    }

    fn pairs(&self, devices: std::ops::Range<usize>, first: i64) -> Vec<(i64, i64)> {
        devices.zip(first..).map(|(device, n)| (self.api.devices[device].0, n)).collect()
    }

    /// As if so much time had passed.
    fn wait(&self, ms: i64) {
        later(self.app(), ms);
    }
}

fn later(app: &App, ms: i64) {
    app.clock.learn(app.clock.now().plus_ms(ms));
}

/// Delivers what is due, as a keeper does. Returns to how many webhooks.
async fn round(app: &App) -> usize {
    let due = due(app).await;
    for due in &due {
        webhook::deliver(app, due).await.unwrap();
    }
    due.len()
}

async fn due(app: &App) -> Vec<Due> {
    webhook::look(app).await.unwrap().unwrap_or_default()
}
