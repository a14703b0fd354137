//! A cloud that has a bad night, and the morning after: the calls made meanwhile are fewer than in health, and
//! everything is fresh again without a hand. A night in which all fail the same way is an incident: see incident.rs.

use crate::incident::{Rig, good};
use crate::journey;
use futures::future::join_all;
use paceline::keep;
use paceline::words::{JobId, Secrets};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wiremock::ResponseTemplate;

const LONG: Duration = Duration::from_secs(60);
const NIGHT: Duration = Duration::from_secs(6);

/// Sixteen jobs of one second each: so many calls would a night in health cost.
const HEALTHY: u64 = 16 * 6;

const FRESH: &str = "SELECT count(*) FROM latest WHERE fetched_at > now() - interval '3 seconds'";

impl Rig {
    /// One whose devices are all fresh.
    async fn healthy() -> Self {
        let rig = Self::new("1s").await;
        assert!(rig.run_until(LONG, async || rig.is_all_well().await).await);
        rig
    }

    /// The cloud is well again: runs until everything is fresh.
    async fn morning(&self, what: &str) {
        self.answer(|_| good());
        let is_fresh = async || self.is_all_well().await && self.count(FRESH).await == 16;
        assert!(self.run_until(LONG, is_fresh).await, "{what}");
        assert_eq!(self.changed_states().await, 0, "{what}");
    }
}

async fn night_of_empty_answers(empty: &'static str) {
    let rig = Rig::healthy().await;
    rig.answer(move |_| ResponseTemplate::new(200).set_body_raw(empty, "application/json"));
    let calls = rig.calls_in(NIGHT).await;
    // At 0, 1, 3 s, and one that was on its way.
    assert!((16..=16 * 4).contains(&calls), "{empty:?}: {calls} calls, {HEALTHY} in health");
    assert_eq!(rig.changed_states().await, 0, "{empty:?}");
    assert_eq!(rig.count("SELECT count(*) FROM incidents").await, 0, "{empty:?}");
    let kept = rig.count("SELECT count(*) FROM latest WHERE values->>'t' = '20.0'").await;
    assert_eq!(kept, 16, "{empty:?}: the last values stay");
    rig.morning(empty).await;
}

#[tokio::test]
async fn night_of_empty_answers_keeps_the_last_values_and_costs_fewer_calls() {
    join_all(["{}", "null", r#"{"t": null}"#, "[]", ""].map(night_of_empty_answers)).await;
}

/// What the odd device is called in a failure's text, and what the cloud answers for it.
type OddAnswer = (&'static str, fn() -> ResponseTemplate);

async fn night_of_one_odd_device((what, answer): OddAnswer) {
    let rig = Rig::healthy().await;
    sqlx::query(
        "UPDATE devices SET external_id = 'odd'
         WHERE device_id = (SELECT min(device_id) FROM devices WHERE external_id = 'd1')",
    )
    .execute(&rig.t.app.pool)
    .await
    .unwrap();
    let of_odd = Arc::new(AtomicU64::new(0));
    let counted = of_odd.clone();
    rig.answer(move |request| {
        if request.url.path().ends_with("/odd") {
            counted.fetch_add(1, Ordering::Relaxed);
            return answer();
        }
        good()
    });
    let calls = rig.calls_in(NIGHT).await;
    let of_odd = of_odd.load(Ordering::Relaxed);
    assert!((1..=5).contains(&of_odd), "{what}: {of_odd} calls of the odd device, 6 in health");
    assert!(calls - of_odd >= 15 * 5, "{what}: {calls} calls, {HEALTHY} in health");
    let others = "SELECT count(*) FROM latest JOIN devices USING (tenant_id, device_id)
                  WHERE external_id <> 'odd' AND fetched_at > now() - interval '3 seconds'";
    assert_eq!(rig.count(others).await, 15, "{what}");
    rig.morning(what).await;
}

#[tokio::test]
async fn night_of_one_odd_device_slows_no_other_down() {
    let odd: [OddAnswer; 4] = [
        ("error", || ResponseTemplate::new(500)),
        ("gone", || ResponseTemplate::new(404)),
        ("page", || ResponseTemplate::new(200).set_body_raw("<html>busy</html>", "text/html")),
        ("values", || ResponseTemplate::new(200).set_body_json(json!({"t": {"a": 1}, "online": 7}))),
    ];
    join_all(odd.map(night_of_one_odd_device)).await;
}

async fn night_of_refusals(retry_after: &'static str) {
    let rig = Rig::healthy().await;
    rig.answer(move |_| ResponseTemplate::new(429).insert_header("Retry-After", retry_after));
    let calls = rig.calls_in(NIGHT).await;
    // Each connection has two calls in flight at the first refusal. Then one call after 1, 2 and 4 s.
    assert!((8..=8 * 5).contains(&calls), "{retry_after}: {calls} calls, {HEALTHY} in health");
    rig.morning(retry_after).await;
}

#[tokio::test]
async fn refusals_that_allow_a_retry_at_once_still_cost_ever_fewer_calls() {
    join_all(["0", "Thu, 01 Jan 1970 00:00:00 GMT"].map(night_of_refusals)).await;
}

/// Redis loses all that it has of the provider; the schedule is built again.
async fn lose_and_rebuild(rig: &journey::Rig) {
    let provider = rig.provider.parse().unwrap();
    let pattern = rig.t.app.keys.anchor(&provider).replace(['{', '}'], "?") + "*";
    let mut link = rig.t.app.redis.link();
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut link).await.unwrap();
    redis::cmd("DEL").arg(keys).query_async::<()>(&mut link).await.unwrap();
    keep::rebuild_if_lost(&rig.t.app, &provider).await.unwrap();
}

#[tokio::test]
async fn waits_of_failing_jobs_outlast_a_lost_schedule() {
    let provider = "mocked".parse().unwrap();
    for (answer, lasting) in [
        (ResponseTemplate::new(404), true),
        (ResponseTemplate::new(200).set_body_string("odd"), true),
        (ResponseTemplate::new(200).set_body_string("null"), true),
        // Retried early once, and then at most a quarter of an hour, or an interval, apart.
        (ResponseTemplate::new(500), false),
    ] {
        let rig = journey::Rig::new(journey::PATIENT, 2).await;
        rig.answer(good()).await;
        rig.land(2).await;
        rig.answer(answer).await;
        let jobs: Vec<i64> = sqlx::query_scalar("SELECT job_id FROM jobs ORDER BY device_id")
            .fetch_all(&rig.t.app.pool)
            .await
            .unwrap();
        let fails = async || {
            rig.t.app.queue.refresh(&provider, &[JobId(jobs[0])]).await.unwrap();
            rig.land(1).await;
            keep::drain(&rig.t.app).await.unwrap();
            rig.location(rig.devices[0]).await.due_ms
        };
        let well = rig.location(rig.devices[1]).await.due_ms;
        for _ in 0..3 {
            fails().await;
        }
        let due = rig.location(rig.devices[0]).await.due_ms;
        lose_and_rebuild(&rig).await;
        assert_eq!(rig.location(rig.devices[0]).await.due_ms, due);
        assert_eq!(rig.location(rig.devices[1]).await.due_ms, well);
        // The next failure is the fourth in a row: of a wait of 8 hours, the last point of the grid.
        let hours = (fails().await - rig.t.app.clock.now().0) as f64 / 3_600_000.0;
        assert!(if lasting { hours > 3.0 } else { hours <= 1.0 }, "{hours}");
    }
}

#[tokio::test]
async fn forgiven_failures_do_not_count_after_a_lost_schedule() {
    let provider = "mocked".parse().unwrap();
    for (forgiven_by, answer) in [
        ("new secrets", ResponseTemplate::new(404)),
        ("new secrets", ResponseTemplate::new(200).set_body_string("odd")),
        ("an import", ResponseTemplate::new(200).set_body_string("null")),
    ] {
        let rig = journey::Rig::new(journey::PATIENT, 1).await;
        let app = &rig.t.app;
        rig.answer(good()).await;
        rig.land(1).await;
        sqlx::query("UPDATE latest SET fetched_at = now() - interval '5 hours'")
            .execute(&app.pool)
            .await
            .unwrap();
        let job: i64 = sqlx::query_scalar("SELECT job_id FROM jobs").fetch_one(&app.pool).await.unwrap();
        rig.answer(answer).await;
        for _ in 0..3 {
            app.queue.refresh(&provider, &[JobId(job)]).await.unwrap();
            rig.land(1).await;
        }
        let waits_ms = async || rig.location(rig.devices[0]).await.due_ms - app.clock.now().0;
        assert!(waits_ms().await > 0, "{forgiven_by}");
        if forgiven_by == "an import" {
            rig.t.add_devices("mocked", rig.connection, 1, "1h").await;
        } else {
            let (tenant, secrets) = (rig.t.tenant, Secrets::only("newer"));
            paceline::preference::activation::reauthorise(
                &app.pool,
                &app.sealer,
                tenant,
                rig.connection,
                &secrets,
            )
            .await
            .unwrap();
        }
        keep::drain(app).await.unwrap();
        assert!(waits_ms().await <= 0, "{forgiven_by}");
        lose_and_rebuild(&rig).await;
        assert!(waits_ms().await <= 0, "{forgiven_by}: its failures count again");
    }
}
