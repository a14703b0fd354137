//! Three ages: when an answer came, when its source observed the values, and when a device was last online.

use crate::journey::{PATIENT, Rig, SINGLE};
use crate::support::TestApp;
use paceline::read;
use paceline::record::{self, Observation};
use paceline::watch;
use paceline::words::{CallId, DeviceId, JobId, Latest, Record, UnixMs};
use serde_json::json;
use std::collections::HashMap;
use wiremock::ResponseTemplate;

const MINUTE_MS: i64 = 60_000;

/// One job, at 30 s, whose answers the test makes up.
struct Source {
    t: TestApp,
    device: DeviceId,
    job: JobId,
    now: UnixMs,
    calls: i64,
    older_replaces: bool,
}

impl Source {
    async fn new() -> Self {
        let t = TestApp::with(&[("mocked", SINGLE)]).await;
        let connection = t.connect("mocked", "home", "http://127.0.0.1:1").await;
        let device = t.add_devices("mocked", connection, 1, "30s").await[0];
        let job = sqlx::query_scalar("SELECT job_id FROM jobs").fetch_one(&t.app.pool).await.unwrap();
        let now = t.app.clock.now();
        Self { t, device, job: JobId(job), now, calls: 0, older_replaces: false }
    }

    /// An answer that comes so long after the start, with what was observed then; without, the device is offline.
    async fn answers(&mut self, at_ms: i64, observed: Option<(i64, f64)>) -> Latest {
        let record = observed.map(|(observed_ms, t)| Record {
            external_id: None,
            observed_at: Some(self.now.plus_ms(observed_ms)),
            online: true,
            values: json!({"t": t}).as_object().unwrap().clone(),
        });
        self.records(at_ms, Some(record.is_some()), record).await
    }

    /// What is recorded of an answer; without `online`, nothing in it was new.
    async fn records(&mut self, at_ms: i64, online: Option<bool>, record: Option<Record>) -> Latest {
        self.notes(at_ms, online, record, true).await
    }

    /// What is recorded of an answer that has no data of the device.
    async fn has_nothing(&mut self, at_ms: i64) -> Latest {
        self.notes(at_ms, None, None, false).await
    }

    async fn notes(
        &mut self,
        at_ms: i64,
        online: Option<bool>,
        record: Option<Record>,
        has_data: bool,
    ) -> Latest {
        self.calls += 1;
        let observation = Observation {
            tenant: self.t.tenant,
            device: self.device,
            resource: "state".parse().unwrap(),
            job: self.job,
            call: CallId(self.calls),
            fetched_at: self.now.plus_ms(at_ms),
            online,
            record,
            has_data,
            validator: None,
            stale_after: None,
            offline_after: Some("1h".parse().unwrap()),
            older_replaces: self.older_replaces,
        };
        // A call that is recorded twice changes nothing the second time.
        record::write(&self.t.app.pool, std::slice::from_ref(&observation)).await.unwrap();
        record::write(&self.t.app.pool, &[observation]).await.unwrap().remove(0).latest
    }

    /// The events' words and the history's `online`, oldest first.
    async fn trace(&self) -> (Vec<String>, Vec<bool>) {
        let events = sqlx::query_scalar("SELECT outcome FROM sync_events ORDER BY at");
        let history = sqlx::query_scalar("SELECT online FROM readings ORDER BY fetched_at");
        let pool = &self.t.app.pool;
        (events.fetch_all(pool).await.unwrap(), history.fetch_all(pool).await.unwrap())
    }
}

#[tokio::test]
async fn older_observation_leaves_the_newer_one() {
    let mut source = Source::new().await;
    source.answers(0, Some((-1_000, 20.0))).await;
    // A cache alternates between its old copy and the new one.
    for minute in 1..5 {
        let at = minute * MINUTE_MS;
        let latest = source.answers(at, Some((-5 * MINUTE_MS, 19.0))).await;
        assert_eq!(latest.values["t"], 20.0 + (minute - 1) as f64);
        assert_eq!(latest.fetched_at, source.now.plus_ms(at));
        let latest = source.answers(at + 1_000, Some((at, 20.0 + minute as f64))).await;
        assert_eq!(latest.values["t"], 20.0 + minute as f64);
    }
    assert_eq!(source.trace().await, (vec![], vec![true; 5]));
}

#[tokio::test]
async fn older_observations_replace_after_an_hour_or_where_declared() {
    let mut source = Source::new().await;
    source.answers(0, Some((-1_000, 20.0))).await;
    // The device's clock was set back by a year, for good.
    let back = -365 * 24 * 60 * MINUTE_MS;
    let latest = source.answers(MINUTE_MS, Some((back, 21.0))).await;
    assert_eq!(latest.values["t"], 20.0);
    let latest = source.answers(60 * MINUTE_MS, Some((back + 1, 22.0))).await;
    assert_eq!(latest.values["t"], 20.0);
    let latest = source.answers(61 * MINUTE_MS, Some((back + 2, 23.0))).await;
    assert_eq!(latest.values["t"], 23.0);
    source.older_replaces = true;
    let latest = source.answers(62 * MINUTE_MS, Some((back, 24.0))).await;
    assert_eq!(latest.values["t"], 24.0);
}

#[tokio::test]
async fn going_offline_and_back_is_an_event_and_in_the_history() {
    let mut source = Source::new().await;
    source.answers(0, Some((0, 20.0))).await;
    for second in 1..4 {
        let latest = source.answers(second * 1_000, None).await;
        assert!(!latest.online && latest.values["t"] == 20.0 && latest.fetched_at == source.now);
    }
    // The same content as before it went.
    let latest = source.answers(5_000, Some((0, 20.0))).await;
    assert!(latest.online && latest.changed_at == source.now.plus_ms(5_000));
    let expected = (vec!["went_offline".to_owned(), "back_online".to_owned()], vec![true, false, true]);
    assert_eq!(source.trace().await, expected);
}

#[tokio::test]
async fn what_is_unchanged_for_too_long_goes_offline() {
    let mut source = Source::new().await;
    source.answers(0, Some((-10 * MINUTE_MS, 20.0))).await;
    let latest = source.records(50 * MINUTE_MS, None, None).await;
    assert!(latest.online && latest.fetched_at == source.now.plus_ms(50 * MINUTE_MS));
    for ms in [1, 2] {
        let latest = source.records(50 * MINUTE_MS + ms, None, None).await;
        assert!(!latest.online && latest.values["t"] == 20.0, "{latest:?}");
        assert_eq!(latest.changed_at, source.now.plus_ms(50 * MINUTE_MS + 1));
    }
    let latest = source.answers(52 * MINUTE_MS, Some((51 * MINUTE_MS, 20.0))).await;
    assert!(latest.online);
    // The answer after 50 minutes of which nothing is known has a row, too.
    let expected = (vec!["went_offline".to_owned(), "back_online".to_owned()], vec![true, true, false, true]);
    assert_eq!(source.trace().await, expected);
}

#[tokio::test]
async fn what_has_no_data_for_too_long_goes_offline_and_its_age_grows_on() {
    let mut source = Source::new().await;
    source.answers(0, Some((-10 * MINUTE_MS, 20.0))).await;
    let latest = source.has_nothing(50 * MINUTE_MS).await;
    assert!(latest.online && latest.fetched_at == source.now, "{latest:?}");
    for minute in [51, 52] {
        let latest = source.has_nothing(minute * MINUTE_MS).await;
        assert!(!latest.online && latest.values["t"] == 20.0, "{latest:?}");
        assert_eq!((latest.fetched_at, latest.changed_at), (source.now, source.now.plus_ms(51 * MINUTE_MS)));
    }
    let latest = source.answers(53 * MINUTE_MS, Some((53 * MINUTE_MS, 21.0))).await;
    assert!(latest.online);
    let expected = (vec!["went_offline".to_owned(), "back_online".to_owned()], vec![true, false, true]);
    assert_eq!(source.trace().await, expected);
}

#[tokio::test]
async fn repeated_old_observation_turns_stale_while_answers_go_on() {
    let mut source = Source::new().await;
    // The source observes once in ten minutes, is asked every minute, and then observes nothing for an hour.
    let mut last = None;
    for minute in -120..0 {
        let observed = (minute.min(-60) - 10_i64).div_euclid(10) * 10;
        last = Some(source.answers(minute * MINUTE_MS, Some((observed * MINUTE_MS, observed as f64))).await);
    }
    let (last, interval) = (last.unwrap(), "1m".parse().unwrap());
    let age_ms = last.age_ms(source.now);
    assert_eq!((age_ms, last.fetched_ago_ms(source.now)), (70 * MINUTE_MS, MINUTE_MS));
    let pace_ms = last.pace_ms.unwrap();
    assert!((19 * MINUTE_MS..=20 * MINUTE_MS).contains(&pace_ms), "{pace_ms}");
    // Six intervals and its pace after the observation.
    let then = |age_ms: i64| {
        let now = last.observed_at.unwrap().plus_ms(age_ms);
        Latest { fetched_at: now, ..last.clone() }.is_fresh(interval, 0, now)
    };
    assert!(then(6 * MINUTE_MS + pace_ms) && !then(6 * MINUTE_MS + pace_ms + 1));

    let view = read::device(&source.t.app, source.t.tenant, source.device, read::With::default())
        .await
        .unwrap()
        .unwrap();
    let state = &view.resources["state"];
    assert!(!state.fresh && state.online == Some(true), "{state:?}");
    assert!(state.age_ms >= Some(70 * MINUTE_MS) && state.fetched_ago_ms < state.age_ms, "{state:?}");
}

#[tokio::test]
async fn lag_counts_as_fresh_what_readers_see_as_fresh() {
    let mut source = Source::new().await;
    // At 30 s: fetched in time or not, observed lately or not.
    for (fetched_ms, observed_ms, cause) in [
        (0, 0, None),
        (0, -170_000, None),
        (1, -190_000, Some("not_observed")),
        (-40_000, -40_000, Some("waiting")),
        (-40_000, -400_000, Some("waiting")),
    ] {
        sqlx::query("DELETE FROM latest").execute(&source.t.app.pool).await.unwrap();
        source.answers(fetched_ms, Some((observed_ms, 20.0))).await;
        let (app, tenant) = (&source.t.app, source.t.tenant);
        let view = read::device(app, tenant, source.device, read::With::default()).await.unwrap().unwrap();
        let report = watch::report(&app.sources(), None, &[], HashMap::new(), app.clock.now()).await.unwrap();
        let jobs = &report.providers["mocked"].jobs;
        let fresh = cause.is_none();
        assert_eq!(
            (view.resources["state"].fresh, jobs.fresh == 1),
            (fresh, fresh),
            "{fetched_ms} {observed_ms}"
        );
        let expected: Vec<_> = cause.map(|cause| (cause.to_owned(), 1)).into_iter().collect();
        assert_eq!(jobs.not_fresh, expected.into_iter().collect(), "{fetched_ms} {observed_ms}");
        let mut lose = redis::cmd("DEL");
        lose.arg(app.keys.device(tenant, source.device));
        lose.query_async::<()>(&mut app.redis.link()).await.unwrap();
    }
}

#[tokio::test]
async fn device_without_data_for_too_long_is_told_as_offline() {
    for (offline_after, online) in [("", true), ("offline_after = \"1h\"\n", false)] {
        let text = PATIENT.replace("records =", &format!("{offline_after}records ="));
        let rig = Rig::new(text.leak(), 1).await;
        let app = &rig.t.app;
        let at = app.clock.now().to_string();
        let body = json!({"id": "d0", "at": at, "online": true, "t": 20.0});
        rig.answer(ResponseTemplate::new(200).set_body_json(body)).await;
        rig.land(1).await;
        let device = async || {
            read::device(app, rig.t.tenant, rig.devices[0], read::With::default()).await.unwrap().unwrap()
        };
        let state = device().await.resources["state"].clone();
        assert!(state.fresh && state.online == Some(true), "{state:?}");

        rig.answer(ResponseTemplate::new(200).set_body_string("null")).await;
        sqlx::query("UPDATE latest SET observed_at = observed_at - interval '2 hours'")
            .execute(&app.pool)
            .await
            .unwrap();
        rig.run_again().await;
        let mut lose = redis::cmd("DEL");
        lose.arg(app.keys.device(rig.t.tenant, rig.devices[0]));
        lose.query_async::<()>(&mut app.redis.link()).await.unwrap();
        rig.land(1).await;
        let state = device().await.resources["state"].clone();
        assert!(!state.fresh, "{state:?}");
        assert_eq!((state.online, state.values), (Some(online), json!({"t": 20.0}).as_object().cloned()));
    }
}
