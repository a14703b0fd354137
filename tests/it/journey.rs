//! The write path end to end: real Postgres, real Redis, a cloud that says what the test wants.

use crate::support::TestApp;
use paceline::journey::{Journey, Step};
use paceline::keep;
use paceline::watch::Stats;
use paceline::words::{ConnectionId, DeviceId, JobId, UnixMs};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// One device a call.
pub const SINGLE: &str = r#"
title = "Single"
[http]
base_url = "{{ params.base_url }}"
timeout = "2s"
body_bytes_max = 20000
[auth]
kind = "bearer"
[[quota]]
name = "second"
scope = "connection"
amount = 50
window = "1s"
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{id: .id, observed_at: .at, online: .online, values: {t: .t}}"
"#;

/// Likewise, of a cloud that forgives a call seconds late: where a busy machine may not hand one back.
pub const PATIENT: &str = r#"
title = "Patient"
[http]
base_url = "{{ params.base_url }}"
timeout = "5s"
[auth]
kind = "bearer"
[[quota]]
name = "second"
scope = "connection"
amount = 50
window = "1s"
forgives_ms = 5000
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{id: .id, observed_at: .at, online: .online, values: {t: .t}}"
"#;

/// One that says in its own way that a device cannot be reached.
const TEAPOT: &str = r#"
title = "Teapot"
[http]
base_url = "{{ params.base_url }}"
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
[[rule]]
status = [418]
outcome = "device_offline"
"#;

/// Up to ten devices a call.
pub const BATCH: &str = r#"
title = "Batch"
[http]
base_url = "{{ params.base_url }}"
[[quota]]
name = "minute"
scope = "connection"
amount = 600
window = "1m"
burst = 10
[resource.state]
unit = "batch"
batch_max = 10
interval_min = "1s"
interval_default = "1m"
path = "/state"
query = { ids = "{{ devices | map(attribute='external_id') | join(',') }}" }
records = ".devices[] | {id, values: {t}}"
"#;

pub struct Rig {
    pub t: TestApp,
    pub cloud: MockServer,
    pub journey: Journey,
    pub devices: Vec<DeviceId>,
    pub connection: ConnectionId,
    pub provider: &'static str,
}

impl Rig {
    /// Devices `d0…` of one connection at a mocked cloud, scheduled, their first runs due at once.
    pub async fn new(text: &'static str, count: usize) -> Self {
        Self::on(Self::deployment(text).await, count, "1h").await
    }

    /// Likewise, with Redis at another address, and devices on this interval.
    pub async fn at(redis_url: &str, text: &'static str, count: usize, interval: &str) -> Self {
        Self::on(Self::deployment(text).await.at_redis(redis_url).await, count, interval).await
    }

    async fn deployment(text: &'static str) -> TestApp {
        TestApp::with_settings(&[("mocked", text)], |s| {
            s.schedule.first_run_spread = "100ms".parse().unwrap();
            s.retry.base = "100ms".parse().unwrap();
            // As late as the cloud forgives.
            s.take.tolerance = "5s".parse().unwrap();
        })
        .await
    }

    async fn on(t: TestApp, count: usize, interval: &str) -> Self {
        let provider = "mocked";
        let cloud = MockServer::start().await;
        let connection = t.connect(provider, "main", &cloud.uri()).await;
        let devices = t.add_devices(provider, connection, count, interval).await;
        let found = t.app.registry.get(provider).unwrap().clone();
        let journey = Journey::new(&t.app, &found, CancellationToken::new()).unwrap();
        keep::rebuild_if_lost(&t.app, &found.name).await.unwrap();
        keep::drain(&t.app).await.unwrap();
        Self { t, cloud, journey, devices, connection, provider }
    }

    /// Steps the loop until at least so many calls have landed. One that a busy machine sent too late was handed back,
    /// and is made again.
    pub async fn land(&self, calls: usize) {
        let mut landed = 0;
        let mut on_their_way = 0;
        while landed < calls {
            if on_their_way == 0 {
                on_their_way = self.start(&self.journey).await.expect("more calls to come");
            }
            let now = self.journey.land().await.unwrap();
            landed += now.sent;
            // Those of an earlier step may land now.
            on_their_way = on_their_way.saturating_sub(now.ended);
        }
    }

    /// Steps the loop until every device has a reading, and nothing is on its way.
    pub async fn read_all(&self, journey: &Journey) {
        let mut on_their_way = 0;
        loop {
            let mut read = on_their_way == 0;
            for device in &self.devices {
                read &= self.value(*device).await.is_some();
            }
            if read {
                return;
            }
            if on_their_way == 0 {
                on_their_way = self.start(journey).await.expect("more calls to come");
            }
            on_their_way -= journey.land().await.unwrap().ended;
        }
    }

    /// How many jobs are being fetched.
    pub async fn leased(&self) -> usize {
        let jobs: Vec<i64> =
            sqlx::query_scalar("SELECT job_id FROM jobs").fetch_all(&self.t.app.pool).await.unwrap();
        let jobs: Vec<_> = jobs.into_iter().map(JobId).collect();
        let provider = self.provider.parse().unwrap();
        let locations = self.t.app.queue.locate(&provider, &jobs).await.unwrap();
        locations.iter().filter(|location| location.leased).count()
    }

    /// Pulls until calls are on their way; none if nothing will ever be due.
    pub async fn start(&self, journey: &Journey) -> Option<usize> {
        loop {
            match journey.pull().await.unwrap() {
                Step::Ran(started, _) => return Some(started),
                Step::Idle(wake) => sleep_until(Instant::now() + wake?).await,
            }
        }
    }

    /// Waits until the cloud has been asked so often.
    pub async fn asked(&self, times: usize) {
        let asked = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while self.cloud.received_requests().await.unwrap().len() < times {
                tick.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.expect("a request");
    }

    pub async fn answer(&self, template: ResponseTemplate) {
        self.cloud.reset().await;
        Mock::given(method("GET")).respond_with(template).mount(&self.cloud).await;
    }

    /// Makes the first device due at once: as though its schedule had been lost with its last run.
    pub async fn run_again(&self) {
        sqlx::query("UPDATE latest SET fetched_at = fetched_at - interval '3 hours'")
            .execute(&self.t.app.pool)
            .await
            .unwrap();
        let provider = self.provider.parse().unwrap();
        let ids: Vec<JobId> = self.t.app.queue.ids(&provider, JobId(1_000)).await.unwrap();
        self.t.app.queue.purge(&provider, &ids).await.unwrap();
        assert!(keep::check(&self.t.app, true).await.unwrap().clean);
    }

    pub async fn check(&self) -> keep::CheckReport {
        keep::check(&self.t.app, false).await.unwrap()
    }

    pub async fn value(&self, device: DeviceId) -> Option<(serde_json::Value, bool)> {
        sqlx::query_as("SELECT \"values\", online FROM latest WHERE device_id = $1")
            .bind(device.0)
            .fetch_optional(&self.t.app.pool)
            .await
            .unwrap()
    }

    /// state, failing, last_error of the job of a device.
    pub async fn standing(&self, device: DeviceId) -> (String, bool, Option<String>) {
        sqlx::query_as("SELECT state, failing_since IS NOT NULL, last_error FROM jobs WHERE device_id = $1")
            .bind(device.0)
            .fetch_one(&self.t.app.pool)
            .await
            .unwrap()
    }

    pub async fn location(&self, device: DeviceId) -> paceline::schedule::JobLocation {
        let job: i64 = sqlx::query_scalar("SELECT job_id FROM jobs WHERE device_id = $1")
            .bind(device.0)
            .fetch_one(&self.t.app.pool)
            .await
            .unwrap();
        let provider = self.provider.parse().unwrap();
        self.t.app.queue.locate(&provider, &[JobId(job)]).await.unwrap().remove(0)
    }
}

pub fn good(t: f64) -> ResponseTemplate {
    ResponseTemplate::new(200)
        .set_body_json(json!({"id": "d0", "at": "2026-01-01T10:00:00Z", "online": true, "t": t}))
}

#[tokio::test]
async fn preference_becomes_a_reading_in_postgres_and_cache() {
    let rig = Rig::new(SINGLE, 1).await;
    Mock::given(method("GET"))
        .and(path("/devices/d0"))
        .and(header("authorization", "Bearer s3cret"))
        .respond_with(good(21.5))
        .expect(1)
        .mount(&rig.cloud)
        .await;
    rig.land(1).await;
    assert_eq!(rig.value(rig.devices[0]).await, Some((json!({"t": 21.5}), true)));
    let cached = rig.t.app.cache.get(rig.t.tenant, &rig.devices).await.unwrap();
    assert!(cached[0]["state"].contains("21.5"), "{cached:?}");
    let location = rig.location(rig.devices[0]).await;
    assert!(location.due && location.is_sound());
    // The grid: a whole interval is 1 h, and the next run is at its next point after this one.
    assert!(location.due_ms > location.last_ms && location.due_ms - location.last_ms <= 3_600_000);
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn device_left_out_of_a_batch_is_gone_only_once_confirmed() {
    let rig = Rig::new(BATCH, 3).await;
    rig.answer(ResponseTemplate::new(200).set_body_json(json!({"devices": [
        {"id": "d0", "t": 1}, {"id": "d2", "t": 2}, {"id": "stranger", "t": 3}]})))
        .await;
    rig.land(1).await;
    assert_eq!(rig.value(rig.devices[0]).await.unwrap().0, json!({"t": 1}));
    assert_eq!(rig.value(rig.devices[1]).await, None);
    assert_eq!(rig.value(rig.devices[2]).await.unwrap().0, json!({"t": 2}));
    let (state, failing, error) = rig.standing(rig.devices[1]).await;
    assert_eq!((state.as_str(), failing), ("active", true));
    assert!(error.unwrap().starts_with("gone"));
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn throttled_call_holds_the_connection_and_keeps_rank() {
    let rig = Rig::new(BATCH, 2).await;
    // No longer than the quota's window, a minute.
    rig.answer(ResponseTemplate::new(429).insert_header("retry-after", "120")).await;
    rig.land(1).await;
    let step = rig.journey.pull().await.unwrap();
    let Step::Idle(Some(wake)) = step else { panic!("{step:?}") };
    assert!(wake > Duration::from_secs(40) && wake <= Duration::from_secs(60), "{wake:?}");
    let location = rig.location(rig.devices[0]).await;
    assert!(location.ready && location.is_sound());
    assert_eq!(rig.standing(rig.devices[0]).await.0, "active");
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn every_response_is_an_outcome_and_keeps_the_last_good_value() {
    let huge = "x".repeat(50_000);
    for (answer, says) in [
        (
            ResponseTemplate::new(200).set_body_string("<html>Sign in</html>"),
            "broken: the response is not JSON",
        ),
        (ResponseTemplate::new(200).set_body_string(""), "no_data: the provider's response is empty"),
        (ResponseTemplate::new(204), "no_data: the provider's response is empty"),
        (ResponseTemplate::new(200).set_body_json(json!(null)), "no_data: the provider's response is empty"),
        (ResponseTemplate::new(200).set_body_json(json!({})), "no_data: the provider's response is empty"),
        (ResponseTemplate::new(304), "broken: HTTP 304 to a request that was not conditional"),
        (ResponseTemplate::new(200).set_body_string(huge), "broken: the response is larger"),
        (ResponseTemplate::new(200).set_body_json(json!([1, 2])), "broken: mapping failed"),
        (
            ResponseTemplate::new(200).set_body_json(json!({"id": "another", "t": 1})),
            "broken: the response is about another device: another",
        ),
        (
            ResponseTemplate::new(200).set_body_json(json!({"id": "d0", "t": null})),
            "no_data: the provider's response has no value",
        ),
        (good(99.0).set_delay(Duration::from_secs(3)), "transient: no response within the timeout"),
        (ResponseTemplate::new(500), "transient: HTTP 500"),
        (ResponseTemplate::new(418), "broken: unexpected HTTP 418"),
        (ResponseTemplate::new(404), "gone: HTTP 404"),
        (ResponseTemplate::new(401), "unauthorized: HTTP 401"),
    ] {
        let rig = Rig::new(SINGLE, 1).await;
        rig.answer(good(20.0)).await;
        rig.land(1).await;
        rig.run_again().await;
        rig.answer(answer).await;
        rig.land(1).await;
        let (_, _, error) = rig.standing(rig.devices[0]).await;
        let error = error.unwrap_or_default();
        assert!(error.starts_with(says), "{says}: {error}");
        assert!(!error.contains("s3cret"));
        assert_eq!(rig.value(rig.devices[0]).await, Some((json!({"t": 20.0}), true)), "{says}");
        assert!(rig.check().await.clean, "{says}");
    }
}

/// A good answer that names no device.
pub fn anonymous(t: f64) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"t": t}))
}

/// Runs what is due, or would be, until `reached` or for ten rounds.
async fn run_until(rig: &Rig, reached: impl AsyncFn() -> bool) {
    for _ in 0..10 {
        if reached().await {
            return;
        }
        keep::drain(&rig.t.app).await.unwrap();
        hurry(rig).await;
        let mut left = rig.start(&rig.journey).await.unwrap_or(0);
        while left > 0 {
            left -= rig.journey.land().await.unwrap().ended;
        }
    }
    panic!("not reached in ten rounds");
}

#[tokio::test]
async fn refused_connection_is_probed_by_one_job_and_comes_back_by_itself() {
    let rig = Rig::new(SINGLE, 3).await;
    rig.answer(ResponseTemplate::new(401)).await;
    let state = async || -> String {
        sqlx::query_scalar("SELECT state FROM connections").fetch_one(&rig.t.app.pool).await.unwrap()
    };
    run_until(&rig, async || state().await == "needs_reauth").await;
    keep::drain(&rig.t.app).await.unwrap();
    let report = rig.check().await;
    assert!(report.clean && report.scheduled == 1, "{report:?}");
    // Each further refusal costs one call, and doubles the wait.
    let sent = async || rig.cloud.received_requests().await.unwrap().len();
    let (before, device) = (sent().await, rig.devices[0]);
    let mut waits = Vec::new();
    for n in 1..=3 {
        hurry(&rig).await;
        rig.land(1).await;
        assert_eq!(sent().await, before + n);
        waits.push(rig.location(device).await.due_ms - rig.t.app.clock.now().0);
    }
    assert!(waits[1] > waits[0] && waits[2] > waits[1], "{waits:?}");
    // The morning after, without a hand.
    rig.answer(anonymous(21.0)).await;
    hurry(&rig).await;
    rig.land(1).await;
    assert_eq!(state().await, "active");
    keep::drain(&rig.t.app).await.unwrap();
    let report = rig.check().await;
    assert!(report.clean && report.scheduled == 3, "{report:?}");
    run_until(&rig, async || {
        let read = sqlx::query_scalar("SELECT count(*) FROM latest").fetch_one(&rig.t.app.pool);
        let read: i64 = read.await.unwrap();
        read == 3
    })
    .await;
}

#[tokio::test]
async fn gone_device_is_tried_ever_more_rarely_and_comes_back_by_itself() {
    let rig = Rig::new(SINGLE, 2).await;
    rig.answer(ResponseTemplate::new(404).set_body_string("no such device")).await;
    let states = async || -> Vec<String> {
        let states = sqlx::query_scalar("SELECT state FROM jobs ORDER BY job_id");
        states.fetch_all(&rig.t.app.pool).await.unwrap()
    };
    for _ in 0..2 {
        rig.land(2).await;
        assert_eq!(states().await, ["active", "active"]);
        hurry(&rig).await;
    }
    rig.land(2).await;
    assert_eq!(states().await, ["probing", "probing"]);
    let (_, _, error) = rig.standing(rig.devices[0]).await;
    assert!(error.unwrap().contains("no such device"));
    keep::drain(&rig.t.app).await.unwrap();
    let probing = rig.location(rig.devices[0]).await;
    let hour_ms = 3_600_000;
    let wait_ms = probing.due_ms - rig.t.app.clock.now().0;
    assert!(wait_ms > 2 * hour_ms && wait_ms <= 4 * hour_ms, "{wait_ms}");
    assert_eq!(probing.class, 5, "behind what is well");
    let report = rig.check().await;
    assert!(report.clean && report.scheduled == 2, "{report:?}");
    // One success restores it, and its sibling is tried at once.
    rig.answer(anonymous(20.0)).await;
    let anchor = rig.t.app.keys.anchor(&rig.provider.parse().unwrap());
    let first: i64 =
        sqlx::query_scalar("SELECT min(job_id) FROM jobs").fetch_one(&rig.t.app.pool).await.unwrap();
    let mut link = rig.t.app.redis.link();
    let due = format!("{anchor}due");
    redis::cmd("ZADD").arg(&due).arg(0).arg(first).query_async::<()>(&mut link).await.unwrap();
    rig.land(1).await;
    assert_eq!(states().await, ["active", "active"]);
    keep::drain(&rig.t.app).await.unwrap();
    assert_eq!(rig.location(rig.devices[0]).await.class, 3);
    rig.land(1).await;
    assert_eq!(rig.value(rig.devices[1]).await, Some((json!({"t": 20.0}), true)));
    assert!(rig.check().await.clean);
}

/// Moves every waiting job's time to now.
async fn hurry(rig: &Rig) {
    let due = rig.t.app.keys.anchor(&rig.provider.parse().unwrap()) + "due";
    let mut link = rig.t.app.redis.link();
    let jobs: Vec<String> =
        redis::cmd("ZRANGE").arg(&due).arg(0).arg(-1).query_async(&mut link).await.unwrap();
    for job in jobs {
        redis::cmd("ZADD").arg(&due).arg(0).arg(job).query_async::<()>(&mut link).await.unwrap();
    }
}

#[tokio::test]
async fn stale_worker_changes_nothing() {
    let rig = Rig::new(PATIENT, 1).await;
    let asked =
        Mock::given(method("GET")).respond_with(good(1.0)).expect(1).mount_as_scoped(&rig.cloud).await;
    // A worker takes the job and is paused past its lease; another takes it over and finishes.
    rig.start(&rig.journey).await.unwrap();
    asked.wait_until_satisfied().await;
    drop(asked);
    let leases = rig.t.app.keys.anchor(&rig.provider.parse().unwrap()) + "leases";
    let mut link = rig.t.app.redis.link();
    let call: Vec<String> =
        redis::cmd("ZRANGE").arg(&leases).arg(0).arg(-1).query_async(&mut link).await.unwrap();
    redis::cmd("ZADD").arg(&leases).arg(0).arg(&call[0]).query_async::<()>(&mut link).await.unwrap();
    let other =
        Journey::new(&rig.t.app, rig.t.app.registry.get(rig.provider).unwrap(), CancellationToken::new())
            .unwrap();
    rig.answer(good(2.0)).await;
    rig.start(&other).await.unwrap();
    other.land().await.unwrap();
    let settled = rig.location(rig.devices[0]).await;
    rig.journey.land().await.unwrap();
    assert_eq!(rig.value(rig.devices[0]).await.unwrap().0, json!({"t": 2.0}));
    let cached = rig.t.app.cache.get(rig.t.tenant, &rig.devices).await.unwrap();
    assert!(cached[0]["state"].contains("2.0"), "{cached:?}");
    assert_eq!(rig.location(rig.devices[0]).await, settled);
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn unchanged_content_adds_no_history() {
    let rig = Rig::new(SINGLE, 1).await;
    rig.answer(good(1.0)).await;
    rig.land(1).await;
    hurry(&rig).await;
    rig.land(1).await;
    hurry(&rig).await;
    rig.answer(good(2.0)).await;
    rig.land(1).await;
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM readings").fetch_one(&rig.t.app.pool).await.unwrap();
    assert_eq!(rows, 2);
    let (fetched, changed): (chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>) =
        sqlx::query_as("SELECT fetched_at, changed_at FROM latest").fetch_one(&rig.t.app.pool).await.unwrap();
    assert_eq!(fetched, changed);
}

#[tokio::test]
async fn calls_keep_the_quotas_spacing() {
    let rig = Rig::new(SINGLE, 12).await;
    rig.answer(ResponseTemplate::new(200).set_body_json(json!({"t": 1, "online": true}))).await;
    let started = Instant::now();
    rig.land(12).await;
    // 50 a second with 2 % headroom: 12 calls take 11 gaps of 20.4 ms.
    assert!(started.elapsed() >= Duration::from_millis(11 * 20), "{:?}", started.elapsed());
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn lost_schedule_is_rebuilt_with_its_quotas_spent() {
    let rig = Rig::new(BATCH, 25).await;
    rig.answer(ResponseTemplate::new(200).set_body_json(json!({"devices": []}))).await;
    rig.land(1).await;
    // None lands later.
    while rig.leased().await > 0 {
        rig.journey.land().await.unwrap();
    }
    let provider = rig.provider.parse().unwrap();
    let anchor = rig.t.app.keys.anchor(&provider);
    let mut link = rig.t.app.redis.link();
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(anchor.replace(['{', '}'], "?") + "*").query_async(&mut link).await.unwrap();
    assert!(keys.len() > 5, "{keys:?}");
    redis::cmd("DEL").arg(keys).query_async::<()>(&mut link).await.unwrap();
    // As though none had been read yet: what failed would wait.
    sqlx::query("DELETE FROM sync_events").execute(&rig.t.app.pool).await.unwrap();
    // Nothing is granted on a schedule that is not there.
    assert_eq!(rig.journey.pull().await.unwrap(), Step::Idle(None));
    assert!(!rig.check().await.clean);
    let started = Instant::now();
    let rebuilt = keep::rebuild_if_lost(&rig.t.app, &provider).await.unwrap();
    assert_eq!(rebuilt, keep::Rebuild::Done(25));
    let again = keep::rebuild_if_lost(&rig.t.app, &provider).await.unwrap();
    assert_eq!(again, keep::Rebuild::NotNeeded);
    assert!(rig.check().await.clean);
    // The burst of 10 is gone: one call a 60 s / 591 / 0.98, about 104 ms.
    hurry(&rig).await;
    rig.land(2).await;
    assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
}

#[tokio::test]
async fn check_repairs_what_it_finds() {
    let rig = Rig::new(SINGLE, 5).await;
    let provider = rig.provider.parse().unwrap();
    let anchor = rig.t.app.keys.anchor(&provider);
    let jobs: Vec<i64> =
        sqlx::query_scalar("SELECT job_id FROM jobs ORDER BY 1").fetch_all(&rig.t.app.pool).await.unwrap();
    let mut link = rig.t.app.redis.link();
    // Forgotten; nowhere; in two locations; one that Postgres does not know; and one in a lane that sleeps.
    rig.t.app.queue.purge(&provider, &[JobId(jobs[0])]).await.unwrap();
    redis::cmd("ZREM").arg(format!("{anchor}due")).arg(jobs[1]).query_async::<()>(&mut link).await.unwrap();
    let lane = rig.location(rig.devices[2]).await.lane;
    redis::cmd("ZADD")
        .arg(format!("{anchor}ready:3:state:{lane}"))
        .arg(1)
        .arg(jobs[2])
        .query_async::<()>(&mut link)
        .await
        .unwrap();
    sqlx::query("DELETE FROM jobs WHERE job_id = $1").bind(jobs[3]).execute(&rig.t.app.pool).await.unwrap();
    redis::cmd("ZREM").arg(format!("{anchor}due")).arg(jobs[4]).query_async::<()>(&mut link).await.unwrap();
    redis::cmd("ZADD")
        .arg(format!("{anchor}ready:3:state:{lane}"))
        .arg(1)
        .arg(jobs[4])
        .query_async::<()>(&mut link)
        .await
        .unwrap();
    let report = rig.check().await;
    let wrong: Vec<_> = report.problems.iter().map(|p| (p.job.unwrap(), p.what.as_str())).collect();
    assert_eq!(
        wrong,
        [
            (jobs[0], "is missing from the schedule"),
            (jobs[1], "is neither due, ready nor leased"),
            (jobs[2], "is in several locations at once: due, ready"),
            (jobs[3], "is scheduled, but Postgres does not know it"),
            (jobs[4], "is ready in a lane that nobody looks at"),
        ]
    );
    assert!(!report.clean);
    assert!(keep::check(&rig.t.app, true).await.unwrap().clean);
    let after = rig.check().await;
    assert!(after.clean && after.problems.is_empty(), "{after:?}");
}

#[tokio::test]
async fn newer_preference_moves_a_waiting_job_and_older_does_not() {
    use paceline::preference::jobs;
    let rig = Rig::new(SINGLE, 1).await;
    rig.answer(good(1.0)).await;
    rig.land(1).await;
    let subject = jobs::device_of(&rig.t.app.pool, rig.t.tenant, rig.devices[0]).await.unwrap().unwrap();
    let patch = jobs::JobPatch { interval: Some("10s".parse().unwrap()), ..jobs::JobPatch::default() };
    let resource = "state".parse().unwrap();
    let default = "1m".parse().unwrap();
    let set = jobs::set(
        &rig.t.app.pool,
        rig.t.tenant,
        &subject,
        (&resource, default),
        &patch,
        None,
        rig.t.app.clock.now(),
    )
    .await;
    let id = set.unwrap().unwrap().job.id;
    let old = jobs::by_id(&rig.t.app.pool, &[id.0]).await.unwrap().remove(0);
    keep::drain(&rig.t.app).await.unwrap();
    let location = rig.location(rig.devices[0]).await;
    let now = rig.t.app.redis.time_ms().await.unwrap();
    assert_eq!(location.interval_ms, 10_000);
    assert!(location.due_ms > now - 1_000 && location.due_ms <= now + 10_000, "{} {now}", location.due_ms);
    // A drainer that slept over a change puts what it read: it is stale, and left alone.
    let mut stale = old.job.clone();
    stale.version -= 1;
    stale.interval = "1h".parse().unwrap();
    let entry = paceline::schedule::Entry {
        job: stale,
        offset_ms: 0,
        last_run: Some(UnixMs(1)),
        wanted_since: None,
        shared: false,
        weight: 1,
        failures: None,
    };
    rig.t.app.queue.put(&rig.provider.parse().unwrap(), &[entry]).await.unwrap();
    assert_eq!(rig.location(rig.devices[0]).await, location);
}

#[tokio::test]
async fn shutdown_hands_back_what_was_not_sent() {
    use std::sync::Arc;
    let rig = Rig::new(SINGLE, 5).await;
    rig.answer(ResponseTemplate::new(200).set_body_json(json!({"t": 1, "online": true}))).await;
    let stop = CancellationToken::new();
    let journey =
        Journey::new(&rig.t.app, rig.t.app.registry.get(rig.provider).unwrap(), stop.clone()).unwrap();
    // Granted up to 250 ms ahead, 20 ms apart: stopped at once, most of them are not sent yet.
    hurry(&rig).await;
    rig.start(&journey).await.unwrap();
    assert!(rig.leased().await >= 4);
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), paceline::journey::run(Arc::new(journey))).await.unwrap();
    assert_eq!(rig.leased().await, 0, "nothing waits for a lease to run out");
    let report = rig.check().await;
    assert!(report.clean && report.scheduled == 5, "{report:?}");
}

#[tokio::test]
async fn reading_that_postgres_rejects_loses_no_other() {
    let rig = Rig::new(BATCH, 3).await;
    // Postgres has its own idea of what fits.
    sqlx::query("ALTER TABLE latest ADD CHECK (\"values\"->>'t' <> '13')")
        .execute(&rig.t.app.pool)
        .await
        .unwrap();
    rig.answer(ResponseTemplate::new(200).set_body_json(json!({"devices": [
        {"id": "d0", "t": 1}, {"id": "d1", "t": 13}, {"id": "d2", "t": 2}]})))
        .await;
    rig.land(1).await;
    assert_eq!(rig.value(rig.devices[0]).await.unwrap().0, json!({"t": 1}));
    assert_eq!(rig.value(rig.devices[1]).await, None);
    assert_eq!(rig.value(rig.devices[2]).await.unwrap().0, json!({"t": 2}));
    let (_, failing, error) = rig.standing(rig.devices[1]).await;
    assert!(failing && error.unwrap().contains("Postgres rejects the reading"));
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn offline_device_keeps_ageing() {
    let rig = Rig::new(TEAPOT, 1).await;
    rig.answer(good(1.0)).await;
    rig.land(1).await;
    let fetched = "SELECT fetched_at, online FROM latest";
    let before: (chrono::DateTime<chrono::Utc>, bool) =
        sqlx::query_as(fetched).fetch_one(&rig.t.app.pool).await.unwrap();
    hurry(&rig).await;
    rig.answer(ResponseTemplate::new(418)).await;
    rig.land(1).await;
    let after: (chrono::DateTime<chrono::Utc>, bool) =
        sqlx::query_as(fetched).fetch_one(&rig.t.app.pool).await.unwrap();
    assert_eq!((before.1, after), (true, (before.0, false)));
}

/// One call tells of the whole account.
const WHOLE: &str = r#"
title = "Whole"
[http]
base_url = "{{ params.base_url }}"
[[quota]]
name = "minute"
scope = "connection"
amount = 60
window = "1m"
[resource.state]
unit = "connection"
interval_min = "1s"
interval_default = "1m"
path = "/all"
records = ".devices[] | {id, values: {t}}"
"#;

#[tokio::test]
async fn unsolicited_records_refresh_their_jobs() {
    let rig = Rig::new(WHOLE, 3).await;
    let all = json!({"devices": [
        {"id": "d0", "t": 1}, {"id": "d1", "t": 2}, {"id": "d2", "t": 3}, {"id": "unknown", "t": 4}]});
    rig.answer(ResponseTemplate::new(200).set_body_json(all)).await;
    // All three are due at one instant; two of them are put off by hand, so that one call is for one job.
    let provider = rig.provider.parse().unwrap();
    let queue = format!("{}due:state:{}", rig.t.app.keys.anchor(&provider), rig.connection);
    let mut link = rig.t.app.redis.link();
    let jobs: Vec<i64> =
        sqlx::query_scalar("SELECT job_id FROM jobs ORDER BY 1").fetch_all(&rig.t.app.pool).await.unwrap();
    let far = rig.t.app.clock.now().0 + 1_800_000;
    for job in &jobs[1..] {
        redis::cmd("ZADD").arg(&queue).arg(far).arg(*job).query_async::<()>(&mut link).await.unwrap();
    }
    rig.land(1).await;
    assert_eq!(rig.cloud.received_requests().await.unwrap().len(), 1);
    for (device, t) in rig.devices.iter().zip(1..) {
        assert_eq!(rig.value(*device).await.unwrap().0, json!({"t": t}));
        let location = rig.location(*device).await;
        assert!(location.is_sound() && location.due, "{location:?}");
        // The others: an hour after the answer, not half an hour as they stood.
        assert!(t == 1 || location.due_ms > far, "{location:?}");
    }
    assert!(rig.check().await.clean);
}

#[tokio::test]
async fn calls_handed_back_unsent_are_counted_by_reason() {
    let rig = Rig::new(SINGLE, 2).await;
    let (app, stop) = (&rig.t.app, CancellationToken::new());
    let provider = app.registry.get(rig.provider).unwrap();
    let journey = Journey::new(app, provider, stop.clone()).unwrap();
    stop.cancel();
    // A pull may find only the first: the second may come due a moment later.
    let mut started = 0;
    while started < 2 {
        started += rig.start(&journey).await.expect("both come due");
    }
    while rig.leased().await > 0 {
        journey.land().await.unwrap();
    }
    let now = app.clock.now();
    let stats = Stats::read(&app.redis, &app.keys, &provider.name, now, 2).await.unwrap();
    assert_eq!(stats.handed_back, [("shutting down".to_owned(), 2)].into());
    assert_eq!(stats.calls, 0);
}
