//! Refreshes of many jobs, and waiting for their end.

use super::*;
use crate::journey::SINGLE;
use crate::metered::Running;
use crate::worker::{asked_again, good};
use tokio::time::Instant;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// A tenant with devices that are seldom due, at a cloud that can be told what to answer.
struct Rig {
    test: TestApp,
    cloud: MockServer,
    router: Router,
    key: String,
    devices: Vec<DeviceId>,
}

/// Each device may be called once per hour.
const SELDOM: &str = r#"
title = "Seldom"
[http]
base_url = "{{ params.base_url }}"
timeout = "2s"
[auth]
kind = "bearer"
[[quota]]
name = "seldom"
scope = "device"
amount = 1
window = "1h"
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{id: .id, observed_at: .at, online: .online, values: {t: .t}}"
"#;

impl Rig {
    async fn new(count: usize, amount: u32) -> Self {
        Self::of(SINGLE, count, amount).await
    }

    async fn of(definition: &str, count: usize, amount: u32) -> Self {
        let test = TestApp::with_settings(&[("mocked", definition)], |settings| {
            settings.schedule.first_run_spread = "100ms".parse().unwrap();
            settings.refresh.tenant_amount = amount;
            settings.refresh.job_every = "100ms".parse().unwrap();
        })
        .await;
        let cloud = MockServer::start().await;
        let connection = test.connect("mocked", "main", &cloud.uri()).await;
        let devices = test.add_devices("mocked", connection, count, "1d").await;
        let (router, key) = (http::router(test.app.clone()), test.key(Role::User).await);
        let rig = Self { test, cloud, router, key, devices };
        rig.answer(good()).await;
        rig
    }

    async fn answer(&self, with: ResponseTemplate) {
        self.cloud.reset().await;
        // Slowly: whoever waits is listening by then.
        let with = with.set_delay(Duration::from_millis(400));
        Mock::given(method("GET")).respond_with(with).mount(&self.cloud).await;
    }

    /// A worker that has fetched all of them.
    async fn working(&self) -> Running {
        let worker = Running::start(self.test.app.clone());
        let fetched = async {
            while sqlx::query_scalar::<_, i64>("SELECT count(*) FROM latest")
                .fetch_one(&self.test.app.pool)
                .await
                .unwrap()
                < self.devices.len() as i64
            {
                tokio::task::yield_now().await;
            }
        };
        timeout(TIMEOUT, fetched).await.expect("first readings");
        worker
    }

    async fn get(&self, path: &str) -> Response {
        self.get_as(path, &self.key).await
    }

    async fn get_as(&self, path: &str, key: &str) -> Response {
        send(&self.router, request("GET", path).header(header::AUTHORIZATION, bearer(key)), Body::empty())
            .await
    }

    /// Asks for the first device's `state`; the refresh's number.
    async fn ask(&self) -> i64 {
        loop {
            let asked = refresh(&self.router, self.devices[0], "state", &self.key).await;
            if asked.status == StatusCode::ACCEPTED {
                return asked.body["refresh"].as_i64().unwrap();
            }
            assert!(asked.detail().contains("this job was refreshed just now"), "{asked:?}");
            tokio::task::yield_now().await;
        }
    }

    async fn ask_many(&self, body: Value) -> Response {
        let request = request("POST", "/v1/refreshes")
            .header(header::AUTHORIZATION, bearer(&self.key))
            .header(header::CONTENT_TYPE, "application/json");
        send(&self.router, request, Body::from(body.to_string())).await
    }

    /// Waits for the end of a refresh, which must come long before the time is over. Its first job.
    async fn end_of(&self, id: i64) -> Value {
        let started = Instant::now();
        let (longer, shorter) =
            (format!("/v1/refreshes/{id}?wait=30s"), format!("/v1/refreshes/{id}?wait=100ms"));
        // Somebody else's shorter wait does not end this one.
        let (mut ended, _) = tokio::join!(self.get(&longer), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.get(&shorter).await
        });
        assert!(started.elapsed() < Duration::from_secs(15), "{ended:?}");
        assert_eq!((ended.status, &ended.body["ended"]), (StatusCode::OK, &json!(true)), "{ended:?}");
        ended.body["jobs"][0].take()
    }
}

#[tokio::test]
async fn wait_ends_with_the_refresh_whatever_it_comes_to() {
    let rig = Rig::new(1, 60).await;
    let worker = rig.working().await;
    let state = format!("/v1/devices/{}", rig.devices[0]);
    // A new value, one that is as before, a failure, a device that is offline, and no data.
    for (answer, state_told, error) in [
        (json!({"t": 2, "online": true}), "done", None),
        (json!({"t": 2, "online": true}), "done", None),
        (json!({"t": 2, "online": false}), "done", None),
        (json!({}), "failed", Some("no_data")),
    ] {
        rig.answer(ResponseTemplate::new(200).set_body_json(&answer)).await;
        let job = rig.end_of(rig.ask().await).await;
        assert_eq!(job["state"], state_told, "{answer}: {job}");
        assert_eq!(job["error"].as_str().map(|text| text.split(':').next().unwrap()), error, "{job}");
        let shown = rig.get(&state).await;
        assert_eq!(job["fetched_at"], shown.body["resources"]["state"]["fetched_at"], "{answer}");
    }
    rig.answer(ResponseTemplate::new(500)).await;
    let failed = rig.ask().await;
    let job = rig.end_of(failed).await;
    assert_eq!((&job["state"], &job["device"]), (&json!("failed"), &json!(rig.devices[0])));
    assert!(job["error"].as_str().unwrap().starts_with("transient: HTTP 500"), "{job}");
    // A refresh that has ended is answered at once: to readers, too, but not to another tenant.
    let reader = rig.test.key(Role::Reader).await;
    let path = format!("/v1/refreshes/{failed}");
    assert_eq!(rig.get_as(&path, &reader).await.body["jobs"][0]["state"], "failed");
    let other = tenants::ensure(&rig.test.app.pool, "other").await.unwrap();
    let who = keys::Principal { tenant: other, role: Role::Operator };
    let (_, theirs) = keys::create(&rig.test.app.pool, who, "k", None).await.unwrap();
    let foreign = rig.get_as(&path, theirs.expose_secret()).await;
    assert_eq!((foreign.status, foreign.problem()), (StatusCode::NOT_FOUND, "no-such-refresh"));
    worker.end().await;
}

#[tokio::test]
async fn wait_is_over_after_its_time_and_when_the_job_is_paused() {
    let rig = Rig::new(1, 60).await;
    // No worker runs.
    paceline::keep::rebuild_if_lost(&rig.test.app, &"mocked".parse().unwrap()).await.unwrap();
    let id = rig.ask().await;
    assert_eq!(rig.get(&format!("/v1/refreshes/{id}")).await.body["jobs"][0]["state"], "queued");
    let started = Instant::now();
    let waited = rig.get(&format!("/v1/refreshes/{id}?wait=300ms")).await;
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!((&waited.body["ended"], &waited.body["refresh"]), (&json!(false), &json!(id)), "{waited:?}");
    for (query, says) in
        [("wait=31s", "at most 30s"), ("wait=soon", "wait: "), ("wait=1s&x=1", "unknown field")]
    {
        let refused = rig.get(&format!("/v1/refreshes/{id}?{query}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.detail().contains(says), "{}", refused.detail());
    }
    let path = format!("/v1/devices/{}/jobs/state", rig.devices[0]);
    let (waited, paused) = tokio::join!(rig.end_of(id), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        put(&rig.router, &path, &rig.key, json!({"paused": true})).await
    });
    assert_eq!(paused.status, StatusCode::OK, "{paused:?}");
    assert_eq!((&waited["state"], &waited["error"]), (&json!("cancelled"), &json!("it is paused")));
}

#[tokio::test]
async fn refresh_that_a_limit_of_its_device_puts_off_still_waits() {
    let rig = Rig::of(SELDOM, 1, 60).await;
    let worker = rig.working().await;
    let id = rig.ask().await;
    let name = "mocked".parse().unwrap();
    let job =
        JobId(sqlx::query_scalar("SELECT job_id FROM jobs").fetch_one(&rig.test.app.pool).await.unwrap());
    let put_off = async {
        loop {
            let location = rig.test.app.queue.locate(&name, &[job]).await.unwrap().remove(0);
            if location.due && location.urgent {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(TIMEOUT, put_off).await.expect("a job that waits among those that are due");
    let waited = rig.get(&format!("/v1/refreshes/{id}?wait=200ms")).await;
    let job = &waited.body["jobs"][0];
    assert_eq!((&waited.body["ended"], &job["state"]), (&json!(false), &json!("queued")), "{job}");
    worker.end().await;
}

#[tokio::test]
async fn refresh_of_a_device_that_was_never_online_ends() {
    let rig = Rig::new(1, 60).await;
    rig.answer(ResponseTemplate::new(200).set_body_json(json!({"online": false}))).await;
    let worker = Running::start(rig.test.app.clone());
    asked_again(&rig.cloud, 0).await;
    // It may still be under way; either way it ends without a reading.
    let job = rig.end_of(rig.ask().await).await;
    assert_eq!((&job["state"], &job["fetched_at"]), (&json!("done"), &Value::Null), "{job}");
    worker.end().await;
}

#[tokio::test]
async fn refresh_of_a_lost_schedule_is_told_as_cancelled() {
    let rig = Rig::new(1, 60).await;
    let worker = rig.working().await;
    worker.end().await;
    let (app, name) = (&rig.test.app, "mocked".parse().unwrap());
    let id = rig.ask().await;
    // As if Redis had lost it and the keeper had put it again.
    let jobs: Vec<i64> = sqlx::query_scalar("SELECT job_id FROM jobs").fetch_all(&app.pool).await.unwrap();
    let jobs: Vec<_> = jobs.into_iter().map(JobId).collect();
    sqlx::query("UPDATE latest SET fetched_at = fetched_at - interval '1 hour'")
        .execute(&app.pool)
        .await
        .unwrap();
    app.queue.purge(&name, &jobs).await.unwrap();
    paceline::keep::check(app, true).await.unwrap();
    let job = rig.get(&format!("/v1/refreshes/{id}")).await.body["jobs"][0].take();
    assert_eq!(job["state"], "cancelled", "{job}");
    assert!(job["error"].as_str().unwrap().contains("left the queue"), "{job}");
}

#[tokio::test]
async fn many_are_refreshed_by_filter_as_far_as_they_may_be() {
    let rig = Rig::new(4, 2).await;
    let worker = rig.working().await;
    let path = format!("/v1/devices/{}/jobs/state", rig.devices[3]);
    put(&rig.router, &path, &rig.key, json!({"paused": true})).await;

    let asked = rig.ask_many(json!({"connection": "main", "resource": "state"})).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{asked:?}");
    assert_eq!(asked.headers["ratelimit"], "\"refresh\";r=0;t=30");
    let id = asked.body["refresh"].as_i64().unwrap();
    assert_eq!(asked.headers["location"], format!("/v1/refreshes/{id}"));
    let jobs = asked.body["jobs"].as_array().unwrap();
    let refused: Vec<_> = jobs.iter().map(|job| job["refused"].as_str().unwrap_or_default()).collect();
    assert_eq!(jobs.iter().filter(|job| job["status"] == "queued").count(), 2, "{jobs:?}");
    assert!(refused[2].contains("as many refreshes as you may"), "{refused:?}");
    assert!(refused[3].contains("is paused"), "{refused:?}");
    // Only those that were accepted are waited for.
    rig.end_of(id).await;
    let ended = rig.get(&format!("/v1/refreshes/{id}")).await;
    let states: Vec<_> = ended.body["jobs"].as_array().unwrap().iter().map(|job| &job["state"]).collect();
    assert_eq!(states, ["done", "done"], "{ended:?}");

    let again = rig.ask_many(json!({"devices": [rig.devices[2]]})).await;
    assert_eq!((again.status.as_u16(), again.problem()), (429, "too-many-refreshes"));
    assert_eq!(again.headers["ratelimit"], "\"refresh\";r=0;t=30");
    let paused = rig.ask_many(json!({"devices": [rig.devices[3]]})).await;
    assert_eq!((paused.status.as_u16(), paused.problem()), (409, "paused"));
    let nothing = rig.ask_many(json!({"group": "attic\0"})).await;
    assert_eq!((nothing.status.as_u16(), nothing.problem()), (404, "no-such-jobs"));
    assert_eq!(rig.ask_many(json!({"connection": "nowhere"})).await.problem(), "no-such-jobs");
    let known = rig.ask_many(json!({"provider": "nowhere"})).await;
    assert!(known.status.is_client_error() && known.detail().contains("mocked"), "{known:?}");
    let ids: Vec<_> = (1..=501).collect();
    assert!(rig.ask_many(json!({"devices": ids})).await.detail().contains("at most 500"));
    assert_eq!(rig.ask_many(json!({"ids": [1]})).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    // No number of a refresh that nobody was told.
    let noted: i64 =
        sqlx::query_scalar("SELECT count(*) FROM refreshes").fetch_one(&rig.test.app.pool).await.unwrap();
    assert_eq!(noted, 1);
    worker.end().await;
}
