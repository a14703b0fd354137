//! The live stream, on a real socket-less router: events are read from the body as they come.

use super::outage::Remote;
use super::*;
use crate::private_redis::PrivateRedis;
use axum::body::BodyDataStream;
use futures::StreamExt;
use paceline::cache::Slot;
use paceline::keep;
use paceline::words::{Latest, UnixMs};
use tokio_util::sync::CancellationToken;

/// Events of one stream.
struct Events {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug)]
struct Told {
    name: String,
    id: String,
    data: Value,
}

impl Events {
    /// Opens a stream, and reads its first event.
    async fn open(router: &Router, key: &str, query: &str, after: Option<&str>) -> (Self, Told) {
        let mut request =
            request("GET", &format!("/v1/stream{query}")).header(header::AUTHORIZATION, bearer(key));
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        let mut events = Self { body: response.into_body().into_data_stream(), text: String::new() };
        let ready = events.next().await;
        assert_eq!(ready.name, "ready");
        (events, ready)
    }

    /// The next event; comments are passed over.
    async fn next(&mut self) -> Told {
        self.maybe_next().await.expect("an event before the end of the stream")
    }

    /// None at the end of the stream.
    async fn maybe_next(&mut self) -> Option<Told> {
        timeout(TIMEOUT, self.read()).await.expect("an event in time")
    }

    async fn read(&mut self) -> Option<Told> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if !event.starts_with(':') {
                    return Some(Told::read(&event));
                }
                continue;
            }
            let bytes = self.body.next().await?;
            self.text += std::str::from_utf8(&bytes.unwrap()).unwrap();
        }
    }

    /// Passes over events until one of this name.
    async fn until(&mut self, name: &str) -> Told {
        loop {
            let told = self.next().await;
            if told.name == name {
                return told;
            }
        }
    }
}

impl Told {
    fn read(event: &str) -> Self {
        let field = |name: &str| {
            let line = event.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_default().to_owned()
        };
        let data = serde_json::from_str(&field("data")).unwrap_or(Value::Null);
        Self { name: field("event"), id: field("id"), data }
    }
}

impl Api {
    /// Caches and tells a reading, as a landing call does once it is recorded. Later calls have a larger `n`.
    pub(super) async fn land(&self, device: usize, n: i64) {
        let now = self.app().clock.now();
        let latest = Latest {
            values: json!({ "n": n }).as_object().unwrap().clone(),
            observed_at: None,
            fetched_at: now,
            changed_at: now,
            online: true,
            pace_ms: None,
            stale_after_ms: None,
        };
        self.cache(device, n, &latest, true).await;
    }

    async fn cache(&self, device: usize, version: i64, latest: &Latest, is_change: bool) {
        let slot = Slot {
            tenant: self.test.tenant,
            device: self.devices[device],
            field: "state".to_owned(),
            version,
            json: serde_json::to_string(latest).unwrap(),
            is_change,
        };
        // As a landing does for a device that the cache does not have.
        paceline::read::refresh(self.app(), self.test.tenant, &[slot.device]).await.unwrap();
        self.app().cache.put(&[slot]).await.unwrap();
    }
}

fn n(told: &Told) -> (i64, i64) {
    assert_eq!(told.name, "reading", "{told:?}");
    (told.data["device"].as_i64().unwrap(), told.data["values"]["n"].as_i64().unwrap())
}

#[tokio::test]
async fn readings_preferences_and_removals_are_told_as_they_come() {
    let api = Api::with_devices(2).await;
    let (key, user) = (api.test.key(Role::Reader).await, api.test.key(Role::User).await);
    let (first, second) = (api.devices[0].0, api.devices[1].0);
    let (mut events, _) = Events::open(&api.router, &key, "", None).await;
    let (mut of_second, _) = Events::open(&api.router, &key, &format!("?ids={second}"), None).await;

    api.land(0, 1).await;
    let told = events.next().await;
    assert_eq!(n(&told), (first, 1));
    let expected = json!({
        "device": first, "name": "Device 0", "provider": "testcloud", "connection": "home", "group": null,
        "resource": "state", "values": {"n": 1}, "online": true, "fresh": true, "interval": "30s",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&told.data[name], value, "{name}");
    }
    api.land(1, 2).await;
    assert_eq!(n(&events.next().await), (second, 2));
    assert_eq!(n(&of_second.next().await), (second, 2), "what others asked for is not told");

    let path = format!("/v1/devices/{second}/jobs/state");
    assert_eq!(put(&api.router, &path, &user, json!({"interval": "1m"})).await.status, StatusCode::OK);
    for stream in [&mut events, &mut of_second] {
        let told = stream.next().await;
        let state = &told.data["resources"]["state"];
        assert_eq!((told.name.as_str(), &state["interval"]), ("device", &json!("1m")), "{told:?}");
    }
    keep::remove_devices(api.app(), api.test.tenant, &api.devices[1..]).await.unwrap();
    let told = of_second.until("gone").await;
    assert_eq!(told.data, json!({ "device": second }));
}

#[tokio::test]
async fn reading_that_confirms_or_comes_late_is_no_change() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::Reader).await;
    let (mut events, _) = Events::open(&api.router, &key, "", None).await;
    api.land(0, 1).await;
    let mut confirmed = Latest {
        values: json!({"n": 1}).as_object().unwrap().clone(),
        observed_at: None,
        fetched_at: UnixMs(api.app().clock.now().0 + 5),
        changed_at: UnixMs(1),
        online: true,
        pace_ms: None,
        stale_after_ms: None,
    };
    api.cache(0, 2, &confirmed, false).await;
    assert_eq!(n(&events.next().await), (api.devices[0].0, 1));
    // A late worker's value is not what readers get, though they are told to look.
    confirmed.values.insert("n".to_owned(), json!(0));
    api.cache(0, 1, &confirmed, true).await;
    assert_eq!(n(&events.next().await), (api.devices[0].0, 1));
    api.land(0, 3).await;
    assert_eq!(n(&events.next().await), (api.devices[0].0, 3));
}

#[tokio::test]
async fn reader_that_comes_back_gets_what_it_missed_or_is_told_to_read_anew() {
    let api = Api::with_devices(3).await;
    let key = api.test.key(Role::Reader).await;
    let (mut events, ready) = Events::open(&api.router, &key, "", None).await;
    api.land(0, 1).await;
    let last = events.next().await.id;
    assert!(last > ready.id, "ids grow: {} {last}", ready.id);
    drop(events);
    for (device, n) in [(0, 2), (1, 3), (0, 4)] {
        api.land(device, n).await;
    }
    let (mut events, _) = Events::open(&api.router, &key, "", Some(&last)).await;
    // Each device as it is now, once.
    let told = [events.next().await, events.next().await];
    assert_eq!(told.each_ref().map(n), [(api.devices[1].0, 3), (api.devices[0].0, 4)]);
    api.land(2, 5).await;
    let told = events.next().await;
    assert_eq!(n(&told), (api.devices[2].0, 5), "nothing is told twice");
    // Nothing was missed: nothing is told.
    let (mut events, _) = Events::open(&api.router, &key, "", Some(&told.id)).await;
    api.land(2, 6).await;
    assert_eq!(n(&events.next().await), (api.devices[2].0, 6));

    for unknown in ["1-0", "99999999999999-0"] {
        let (mut events, _) = Events::open(&api.router, &key, "", Some(unknown)).await;
        let told = events.next().await;
        assert_eq!(told.name, "resync", "{unknown}");
        api.land(0, 7).await;
        assert_eq!(events.next().await.name, "reading");
    }
    for bad in ["x", "", "1", "-1-0"] {
        let request = request("GET", "/v1/stream").header(header::AUTHORIZATION, bearer(&key));
        let refused = send(&api.router, request.header("Last-Event-ID", bad), Body::empty()).await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::BAD_REQUEST, "bad-query"), "{bad}");
    }
}

#[tokio::test]
async fn filters_choose_what_is_told_and_another_tenant_hears_nothing() {
    let api = Api::with_devices(2).await;
    let key = api.test.key(Role::Reader).await;
    let (tenant, theirs, stranger) = api.stranger(Role::Reader).await;
    sqlx::query("UPDATE devices SET name = 'Bath', group_key = 'cabin' WHERE device_id = $1")
        .bind(api.devices[1].0)
        .execute(&api.app().pool)
        .await
        .unwrap();
    let connection =
        sqlx::query_scalar::<_, i64>("SELECT connection_id FROM connections WHERE label = 'home'");
    let connection = connection.fetch_one(&api.app().pool).await.unwrap();
    let numbered = format!("?connection={connection}");
    let queries =
        ["", "?q=BATH", "?group=cabin", "?connection=home", &numbered, "?provider=testcloud&state=active"];
    let nothing = ["?q=hall", "?group=attic", "?connection=office", "?state=paused"];
    let mut streams = Vec::new();
    for query in queries.iter().chain(&nothing) {
        streams.push((*query, Events::open(&api.router, &key, query, None).await.0));
    }
    let (mut others, _) = Events::open(&api.router, &stranger, "", None).await;
    api.land(1, 1).await;
    for (query, stream) in &mut streams[..queries.len()] {
        assert_eq!(n(&stream.next().await), (api.devices[1].0, 1), "{query}");
    }
    // Those who were told nothing of it: the next that they hear is that the device is gone.
    keep::remove_devices(api.app(), api.test.tenant, &api.devices[1..]).await.unwrap();
    for (query, stream) in &mut streams[queries.len()..] {
        assert_eq!(stream.next().await.name, "gone", "{query}");
    }
    // A change of their own is the first that they hear of.
    api.app().cache.forget([(tenant, theirs)]).await.unwrap();
    let told = others.next().await;
    assert_eq!((told.name.as_str(), &told.data["id"]), ("device", &json!(theirs)));
}

#[tokio::test]
async fn slow_reader_is_let_go_with_a_last_word() {
    let api = Api::with_devices(1).await;
    let key = api.test.key(Role::Reader).await;
    let (mut slow, _) = Events::open(&api.router, &key, "", None).await;
    let (mut quick, _) = Events::open(&api.router, &key, "", None).await;
    for n in 1..=1_100 {
        api.land(0, n).await;
        assert_eq!(quick.next().await.name, "reading");
    }
    let mut told = 0;
    let end = loop {
        let event = slow.next().await;
        if event.name == "end" {
            break event;
        }
        told += 1;
    };
    assert!(told < 10, "{told} events waited for it");
    assert!(end.data["reason"].as_str().unwrap().contains("more slowly"), "{end:?}");
    assert!(slow.maybe_next().await.is_none(), "that was the last word");
}

#[tokio::test]
async fn stream_ends_when_its_key_is_revoked_and_when_the_server_stops() {
    let api = Api::with_devices(1).await;
    let (tenant, pool) = (api.test.tenant, &api.app().pool);
    let principal = keys::Principal { tenant, role: Role::Reader };
    let (id, revoked) = keys::create(pool, principal, "revoked", None).await.unwrap();
    let (kept, stop) = (api.test.key(Role::Reader).await, CancellationToken::new());
    let router = http::router_until(api.app().clone(), stop.clone());
    let (mut gone, _) = Events::open(&router, revoked.expose_secret(), "", None).await;
    let (mut stays, _) = Events::open(&router, &kept, "", None).await;
    keys::revoke(pool, tenant, id).await.unwrap();
    let end = gone.next().await;
    assert_eq!((end.name.as_str(), &end.data), ("end", &json!({"reason": "this API key was revoked"})));
    assert!(gone.maybe_next().await.is_none());
    api.land(0, 1).await;
    assert_eq!(stays.next().await.name, "reading", "another key's stream goes on");
    stop.cancel();
    let end = stays.next().await;
    assert!(end.name == "end" && end.data["reason"].as_str().unwrap().contains("stopped"), "{end:?}");
    assert!(stays.maybe_next().await.is_none());
}

#[tokio::test]
async fn stream_ends_when_its_key_expires() {
    let api = Api::with_devices(1).await;
    let who = keys::Principal { tenant: api.test.tenant, role: Role::Reader };
    let (id, key) = keys::create(&api.app().pool, who, "short", Some(1)).await.unwrap();
    let expire = "UPDATE api_keys SET expires_at = now() + interval '1 s' WHERE key_id = $1";
    sqlx::query(expire).bind(id).execute(&api.app().pool).await.unwrap();
    let (mut events, _) = Events::open(&api.router, key.expose_secret(), "", None).await;
    let end = events.next().await;
    assert_eq!((end.name.as_str(), &end.data), ("end", &json!({"reason": "this API key has expired"})));
    assert!(events.maybe_next().await.is_none());
}

#[tokio::test]
async fn readers_hear_of_what_came_while_redis_was_away() {
    let api = Api::with_devices(2).await;
    let (key, remote) = (api.test.key(Role::Reader).await, Remote::of(&api).await);
    let (mut events, _) = Events::open(&remote.router, &key, "", None).await;
    api.land(0, 1).await;
    assert_eq!(n(&events.next().await), (api.devices[0].0, 1));
    remote.redis.cut();
    api.land(1, 2).await;
    let refused = remote.get("/v1/stream", &key).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::SERVICE_UNAVAILABLE, "changes-away"));
    remote.redis.mend();
    assert_eq!(n(&events.next().await), (api.devices[1].0, 2));
}

#[tokio::test]
async fn redis_that_lost_everything_makes_readers_read_anew() {
    let mut redis = PrivateRedis::with(&["--appendonly", "no"]).await;
    let test = TestApp::with(&[("testcloud", PROVIDER)]).await.at_redis(&redis.url).await;
    let connection = test.connect("testcloud", "home", "http://cloud.invalid").await;
    let devices = test.add_devices("testcloud", connection, 1, "30s").await;
    let (router, key) = (http::router(test.app.clone()), test.key(Role::Reader).await);
    let api = Api { test, router, devices };
    let (mut events, _) = Events::open(&api.router, &key, "", None).await;
    api.land(0, 1).await;
    let last = events.next().await;
    redis.crash().await;
    let told = events.until("resync").await;
    assert!(told.id > last.id, "ids grow on: {} {}", last.id, told.id);
    until(async || api.get("/readyz", "").await, |response| response.status.is_success()).await;
    api.land(0, 2).await;
    assert_eq!(n(&events.until("reading").await), (api.devices[0].0, 2));
}
