//! What the API still serves while Postgres or Redis is unavailable, and that it recovers.

use super::preference::jobs_of;
use super::*;
use crate::support::server;
use crate::wire::Wire;
use crate::worker::{Worker, asked_again, good};
use paceline::keep;

/// A process of the same deployment whose connections to Postgres and Redis can be cut.
pub(super) struct Remote {
    pub(super) router: Router,
    pub(super) postgres: Wire,
    pub(super) redis: Wire,
}

impl Remote {
    pub(super) async fn of(api: &Api) -> Self {
        Self::beside(&api.test).await
    }

    async fn beside(t: &TestApp) -> Self {
        let (database_url, redis_url) = (t.database_url.expose_secret(), server("PACELINE_TEST_REDIS_URL"));
        let (postgres, redis) = (Wire::to(database_url).await, Wire::to(&redis_url).await);
        let app = t.app_on(&postgres.reroute(database_url), &redis.reroute(&redis_url)).await;
        Self { router: http::router(app), postgres, redis }
    }

    pub(super) async fn get(&self, path: &str, key: &str) -> Response {
        send(&self.router, request("GET", path).header("Authorization", bearer(key)), Body::empty()).await
    }

    /// Waits until both servers answer again.
    async fn recovered(&self) {
        until(async || self.get("/readyz", "").await, |response| response.status.is_success()).await;
    }
}

#[tokio::test]
async fn preference_is_stored_while_redis_is_unavailable() {
    let api = Api::with_devices(2).await;
    let (key, remote) = (api.test.key(Role::User).await, Remote::of(&api).await);
    let device = format!("/v1/devices/{}", api.devices[0]);
    let interval = async || remote.get(&device, &key).await.body["resources"]["state"]["interval"].take();
    assert_eq!(interval().await, "30s");

    remote.redis.cut();
    let asked = json!({"interval": "2m", "priority": "low"});
    let response = put(&remote.router, &format!("{device}/jobs/state"), &key, asked).await;
    assert_eq!((response.status, &response.body["interval"]), (StatusCode::OK, &json!("2m")));
    assert_eq!(interval().await, "2m");
    let stored = jobs_of(&api).await.remove(0).job;
    assert_eq!((stored.interval.as_ms(), stored.priority), (120_000, Priority::Low));

    // Once Redis is back, the next drain updates the schedule and the cache.
    remote.redis.mend();
    remote.recovered().await;
    keep::drain(api.app()).await.unwrap();
    assert_eq!(interval().await, "2m");
    let account = api.app().queue.locate(&stored.provider, &[stored.id]).await.unwrap().remove(0);
    assert_eq!(account.interval_ms, 120_000);
}

#[tokio::test]
async fn refresh_while_redis_is_unavailable_says_to_try_again() {
    let api = Api::with_devices(1).await;
    let (key, remote) = (api.test.key(Role::User).await, Remote::of(&api).await);
    let ask = async || refresh(&remote.router, api.devices[0], "state", &key).await;
    let away = (StatusCode::SERVICE_UNAVAILABLE, "schedule-away");
    for break_it in [Wire::cut, Wire::hold] {
        break_it(&remote.redis);
        let response = ask().await;
        assert_eq!((response.status, response.problem()), away, "{response:?}");
        assert!(
            response.headers.contains_key(header::RETRY_AFTER) && response.detail().contains("try again")
        );
        remote.redis.mend();
        remote.recovered().await;
        assert_eq!(ask().await.status, StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn reads_come_from_the_cache_while_postgres_is_unavailable() {
    let api = Api::with_devices(2).await;
    let (key, remote) = (api.test.key(Role::User).await, Remote::of(&api).await);
    api.record(api.devices[0], 0, json!({"power_w": 7})).await;
    let [known, unread] = [api.devices[0], api.devices[1]].map(|id| format!("/v1/devices/{id}"));
    let before = remote.get(&known, &key).await.body;

    // For a reader, a server that hangs and one that is gone are the same.
    remote.postgres.hold();
    assert_eq!(remote.get(&known, &key).await.status, StatusCode::OK);
    remote.postgres.mend();
    remote.recovered().await;
    remote.postgres.cut();
    let during = remote.get(&known, &key).await;
    assert_eq!(during.status, StatusCode::OK);
    assert_eq!(during.body["resources"]["state"]["values"], before["resources"]["state"]["values"]);
    let paused = json!({"paused": true});
    let refusals = [
        remote.get(&unread, &key).await,
        remote.get("/v1/devices", &key).await,
        remote.get("/v1/lag", &key).await,
        remote.get(&known, "pl_user_never-seen-before").await,
        put(&remote.router, &format!("{known}/jobs/state"), &key, paused.clone()).await,
    ];
    for refusal in refusals {
        assert_eq!((refusal.status, refusal.problem()), (StatusCode::SERVICE_UNAVAILABLE, "database-away"));
        assert!(refusal.headers.contains_key(header::RETRY_AFTER));
        assert!(!refusal.detail().contains("127.0.0.1"), "{}", refusal.detail());
    }
    assert_eq!(remote.get("/healthz", "").await.status, StatusCode::OK);

    // A key revoked meanwhile is rejected as soon as Postgres answers.
    let revoke = "UPDATE api_keys SET revoked_at = now()";
    sqlx::query(revoke).execute(&api.app().pool).await.unwrap();
    assert_eq!(remote.get(&known, &key).await.status, StatusCode::OK);
    remote.postgres.mend();
    remote.recovered().await;
    let refused =
        until(async || remote.get(&known, &key).await, |response| !response.status.is_success()).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn readiness_names_the_unavailable_server() {
    let api = Api::with_devices(1).await;
    let (key, remote) = (api.test.key(Role::Reader).await, Remote::of(&api).await);
    assert_eq!(remote.get("/readyz", "").await.body, json!({"status": "ok"}));
    let named = async |postgres: bool, redis: bool| {
        let response = remote.get("/readyz", "").await;
        assert_eq!((response.status, response.problem()), (StatusCode::SERVICE_UNAVAILABLE, "not-ready"));
        assert_eq!(
            (response.detail().contains("Postgres"), response.detail().contains("Redis")),
            (postgres, redis)
        );
    };
    remote.redis.cut();
    named(false, true).await;
    remote.redis.mend();
    remote.recovered().await;

    // A server that hangs counts as unavailable too; reads are still served by the other one.
    remote.redis.hold();
    named(false, true).await;
    let device = remote.get(&format!("/v1/devices/{}", api.devices[0]), &key).await;
    assert_eq!(device.status, StatusCode::OK);
    remote.postgres.hold();
    named(true, true).await;
}

#[tokio::test]
async fn devices_that_nobody_has_read_yet_are_served_while_postgres_is_unavailable() {
    let worker = Worker::start(good(), "2s").await;
    let (key, remote) = (worker.t.key(Role::Reader).await, Remote::beside(&worker.t).await);
    // Each of five devices twice: the first reading is cached for certain.
    asked_again(&worker.cloud, 10).await;
    let ids: Vec<i64> = sqlx::query_scalar("SELECT device_id FROM devices ORDER BY device_id")
        .fetch_all(&worker.t.app.pool)
        .await
        .unwrap();
    // The process knows the key from a request about no device of these.
    assert_eq!(remote.get("/v1/devices/0", &key).await.status, StatusCode::NOT_FOUND);
    remote.postgres.cut();
    for id in ids {
        let response = remote.get(&format!("/v1/devices/{id}"), &key).await;
        assert_eq!(response.status, StatusCode::OK, "{response:?}");
        assert_eq!(response.body["resources"]["state"]["values"], json!({"t": 1}));
    }
    worker.end().await;
}
