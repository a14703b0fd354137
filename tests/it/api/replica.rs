//! Lists and counts that are read at a standby of Postgres.

use super::*;
use crate::private_postgres::PrivatePostgres;
use crate::wire::Wire;

/// A primary, its standby behind a proxy, and an API that reads lists there.
struct Replicated {
    primary: PrivatePostgres,
    standby: PrivatePostgres,
    wire: Wire,
    test: TestApp,
    router: Router,
    key: String,
}

impl Replicated {
    async fn start() -> Self {
        let primary = PrivatePostgres::start().await;
        let standby = primary.standby().await;
        let wire = Wire::to(&standby.url).await;
        let read_url = wire.reroute(&standby.url).into();
        let test = TestApp::in_database(&primary.url, &[("testcloud", PROVIDER)], |settings| {
            settings.database.read_url = read_url;
        })
        .await;
        let (router, key) = (http::router(test.app.clone()), test.key(Role::Reader).await);
        Self { primary, standby, wire, test, router, key }
    }

    /// Adds a connection with a device.
    async fn add(&self, label: &str) {
        let connection = self.test.connect("testcloud", label, "http://cloud.invalid").await;
        self.test.add_devices("testcloud", connection, 1, "30s").await;
    }

    async fn get(&self, path: &str) -> Response {
        send(&self.router, request("GET", path).header("Authorization", bearer(&self.key)), Body::empty())
            .await
    }

    /// Waits until the list has so many devices and comes from the replica, or not.
    async fn lists(&self, devices: usize, at_replica: bool) -> Response {
        let matches = |response: &Response| {
            let listed = response.body["devices"].as_array().map(Vec::len);
            listed == Some(devices) && response.body["replica_lag_ms"].is_u64() == at_replica
        };
        until(async || self.get("/v1/devices").await, matches).await
    }
}

#[tokio::test]
async fn slow_lists_are_read_at_the_replica_while_it_is_close_behind_and_say_how_far() {
    let mut r = Replicated::start().await;
    r.add("first").await;
    r.lists(1, true).await;
    let lag = r.get("/v1/lag").await.body;
    assert!(lag["replica_lag_ms"].is_u64() && lag["providers"]["testcloud"]["jobs"]["active"] == 1, "{lag}");

    // It stops to follow: lists are older, and then come from the primary.
    r.standby.say("SELECT pg_wal_replay_pause()").await;
    r.add("second").await;
    let old = r.lists(1, true).await.body;
    assert!(old["replica_lag_ms"].as_u64().unwrap() < 11_500, "{old}");
    r.lists(2, false).await;
    r.standby.say("SELECT pg_wal_replay_resume()").await;
    r.lists(2, true).await;

    // It is away, and comes back.
    r.wire.cut();
    let at_primary = r.lists(2, false).await;
    assert_eq!(at_primary.status, StatusCode::OK);
    r.wire.mend();
    r.lists(2, true).await;

    // The primary dies: the key was known a moment ago, and values are in the cache.
    r.primary.kill().await;
    let rescued = r.lists(2, true).await;
    assert_eq!(rescued.body["devices"][0]["connection"], "first");
}

#[tokio::test]
async fn copy_of_another_database_is_not_read() {
    let (own, other) = (PrivatePostgres::start().await, PrivatePostgres::start().await);
    let standby = other.standby().await;
    let read_url = standby.url.as_str().into();
    let test = TestApp::in_database(&own.url, &[("testcloud", PROVIDER)], |settings| {
        settings.database.read_url = read_url;
    })
    .await;
    let connection = test.connect("testcloud", "home", "http://cloud.invalid").await;
    test.add_devices("testcloud", connection, 1, "30s").await;
    let (router, key) = (http::router(test.app.clone()), test.key(Role::Reader).await);
    let request = request("GET", "/v1/devices").header("Authorization", bearer(&key));
    let list = send(&router, request, Body::empty()).await.body;
    assert!(list["devices"].as_array().unwrap().len() == 1 && list["replica_lag_ms"].is_null(), "{list}");
}
