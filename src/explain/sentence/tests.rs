use super::*;
use crate::preference::job_status::JobStatus;
use crate::provider::Provider;
use crate::schedule::JobLocation;
use crate::words::{ConnectionId, ConnectionState, DeviceId, JobId, Latest, Priority};

/// 2027-01-15 10:00:00 UTC.
const NOW: UnixMs = UnixMs(1_800_007_200_000);

const PROVIDER: &str = r#"
title = "Explained"
[http]
base_url = "http://127.0.0.1:9"
[[quota]]
name = "hour"
scope = "connection"
amount = 100
window = "1h"
[[quota]]
name = "home"
scope = "group"
amount = 100
window = "1h"
[[quota]]
name = "second"
scope = "app"
amount = 100
window = "1s"
[[quota]]
name = "own"
scope = "device"
amount = 100
window = "1h"
[[quota]]
name = "at-once"
kind = "concurrent"
scope = "connection"
amount = 2
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/"
records = "."
"#;

fn status() -> JobStatus {
    JobStatus {
        job: JobId(1),
        device: DeviceId(7),
        provider: "explained".parse().unwrap(),
        resource: "state".parse().unwrap(),
        interval: "30s".parse().unwrap(),
        priority: Priority::Normal,
        state: JobState::Active,
        state_at: None,
        reason: None,
        connection: ConnectionId(3),
        label: "home".to_owned(),
        connection_state: ConnectionState::Active,
        refusal: None,
        latest: None,
        failing: None,
        last_error: None,
    }
}

/// Not blocked; due in so many ms.
fn location(due_in_ms: i64) -> JobLocation {
    JobLocation {
        known: true,
        due: true,
        ready: false,
        leased: false,
        due_ms: NOW.0 + due_in_ms,
        last_ms: 0,
        interval_ms: 30_000,
        class: 3,
        version: 1,
        lane: "3".to_owned(),
        lane_awake: true,
        until_ms: 0.0,
        blocked_by: String::new(),
        urgent: false,
    }
}

fn ready(since_ms: i64) -> JobLocation {
    JobLocation { due: false, ready: true, ..location(-since_ms) }
}

fn stopped(location: JobLocation, why: &str, in_ms: i64) -> JobLocation {
    JobLocation { until_ms: (NOW.0 + in_ms) as f64, blocked_by: why.to_owned(), ..location }
}

fn sentence_for(status: &JobStatus, location: &JobLocation, is_built: bool, plan: Option<&str>) -> String {
    let provider = Provider::parse("explained".parse().unwrap(), "explained.toml", PROVIDER).unwrap();
    let device = DeviceId(7);
    let incident = None;
    let audience = Audience::Operator;
    let facts =
        Facts { now: NOW, device, provider: &provider, is_built, status, location, incident, plan, audience };
    sentence(&facts).text
}

#[test]
fn last_run_without_a_fresh_reading_is_explained() {
    let latest = |observed_ago_ms: i64, online: bool| Latest {
        values: serde_json::Map::new(),
        observed_at: Some(NOW.plus_ms(-observed_ago_ms)),
        fetched_at: NOW,
        changed_at: NOW.plus_ms(-60_000),
        online,
        pace_ms: Some(0),
        stale_after_ms: None,
    };
    let of = |latest: Latest| JobStatus { latest: Some(latest), ..status() };
    let no_data = Some("no_data: an empty list".to_owned());
    for (status, text) in [
        (of(latest(0, true)), ""),
        (of(latest(180_000, true)), ""),
        (of(latest(3_600_000, true)), "; its source has observed nothing new for 60 min"),
        (
            of(latest(0, false)),
            "; the provider says that the device is offline, since 2027-01-15T09:59:00.000Z",
        ),
        (
            JobStatus { last_error: no_data, ..of(latest(0, false)) },
            "; its last run brought nothing: no_data: an empty list",
        ),
    ] {
        let expected = format!("due in 12 s (every 30s, normal){text}");
        assert_eq!(sentence_for(&status, &location(12_000), true, None), expected);
    }
}

#[test]
fn job_that_an_incident_holds_back_says_so() {
    let provider = Provider::parse("explained".parse().unwrap(), "explained.toml", PROVIDER).unwrap();
    let incident = Incident {
        outcome: "unauthorized".to_owned(),
        since: NOW.plus_ms(-60_000),
        failing: 40,
        called: 41,
        next_probe: Some(NOW.plus_ms(5_000)),
    };
    let sentence_at = |location: &JobLocation| {
        sentence(&Facts {
            now: NOW,
            device: DeviceId(7),
            provider: &provider,
            is_built: true,
            status: &status(),
            location,
            incident: Some(&incident),
            plan: None,
            audience: Audience::Operator,
        })
        .text
    };
    assert_eq!(
        sentence_at(&ready(4_000)),
        "held: the provider fails for 40 of 41 connections since 2027-01-15T09:59:00.000Z (unauthorized); a few \
         calls probe it, the next at 2027-01-15T10:00:05.000Z"
    );
    assert!(sentence_at(&location(12_000)).starts_with("due in 12 s"));
}

#[test]
fn unscheduled_job_says_why() {
    let reason = Some("gone: HTTP 404".to_owned());
    for (status, text) in [
        (JobStatus { state: JobState::Paused, ..status() }, "paused by its owner"),
        (
            JobStatus { state: JobState::Probing, reason, ..status() },
            "it keeps failing and is tried ever more rarely (gone: HTTP 404): due in 12 s (every 30s, normal)",
        ),
        (
            JobStatus {
                connection_state: ConnectionState::NeedsReauth,
                refusal: Some("HTTP 401".to_owned()),
                ..status()
            },
            "the provider refuses the credential of connection \"home\", and one job tries again: HTTP 401",
        ),
        (
            JobStatus { resource: "power".parse().unwrap(), ..status() },
            "provider explained declares no resource power any more",
        ),
    ] {
        assert_eq!(
            sentence_for(&status, &location(12_000), true, Some("no plan")).replace("; no plan", ""),
            text
        );
    }
}

#[test]
fn scheduled_job_says_where_it_is_and_what_it_waits_for() {
    let lane = |lane: &str| JobLocation { lane: lane.to_owned(), ..ready(40_000) };
    let never = JobLocation { until_ms: -1.0, ..stopped(ready(40_000), "second", 0) };
    for (location, text) in [
        (location(12_000), "due in 12 s (every 30s, normal)"),
        (ready(4_000), "overdue by 4 s; it waits behind other jobs of its lane, or for a worker"),
        (JobLocation { ready: false, leased: true, ..ready(4_000) }, "being fetched"),
        (ready(-9_000), "refreshed ahead of its time; it waits for a worker"),
        (location(-4_000), "overdue by 4 s; no worker has picked it up yet (`paceline serve` runs workers)"),
        (
            stopped(ready(40_000), "hour", 120_000),
            "overdue by 40 s; quota `hour` of connection 3 allows it in 2 min",
        ),
        (
            stopped(lane("3.attic"), "home", 500),
            "overdue by 40 s; quota `home` of group attic of connection 3 allows it in less than 1 s",
        ),
        (
            stopped(lane("3"), "home", 61_000),
            "overdue by 40 s; quota `home` of connection 3 allows it in 61 s",
        ),
        (
            stopped(location(-40_000), "own", 7_200_000),
            "overdue by 40 s; quota `own` of device 7 allows it in 2 h",
        ),
        (never, "overdue by 40 s; quota `second` of the application allows it when a call ends"),
        (
            stopped(ready(40_000), "at-once", 60_000),
            "overdue by 40 s; quota `at-once` of connection 3 allows it when a call ends",
        ),
        (stopped(ready(40_000), "of-old", 60_000), "overdue by 40 s; quota `of-old` allows it in 60 s"),
        (
            stopped(ready(-9_000), "hour", 60_000),
            "refreshed ahead of its time; quota `hour` of connection 3 allows it in 60 s",
        ),
        (stopped(ready(40_000), "hold: HTTP 429", 131_000), "held: HTTP 429, until 10:02:11 UTC"),
        (stopped(location(-40_000), "hold: HTTP 429", 131_000), "held: HTTP 429, until 10:02:11 UTC"),
        (stopped(ready(40_000), "hold: HTTP 503", 86_400_000), "held: HTTP 503, until 2027-01-16 10:00 UTC"),
        (
            stopped(location(12_000), "hold: HTTP 429", 131_000),
            "due in 12 s (every 30s, normal); held: HTTP 429, until 10:02:11 UTC",
        ),
        (stopped(location(12_000), "hold: HTTP 429", 11_000), "due in 12 s (every 30s, normal)"),
        (
            stopped(ready(4_000), "hour", -1),
            "overdue by 4 s; it waits behind other jobs of its lane, or for a worker",
        ),
        (
            JobLocation { known: false, ..location(0) },
            "not on the schedule yet; a keeper puts it there (`paceline serve`)",
        ),
        (
            JobLocation { due: false, ..location(-1_000) },
            "the schedule has lost it; `paceline check --repair` puts it back",
        ),
    ] {
        assert_eq!(sentence_for(&status(), &location, true, None), text, "{location:?}");
    }
    let unbuilt = sentence_for(&status(), &location(12_000), false, None);
    assert_eq!(
        unbuilt,
        "the schedule is not built since Redis started; a keeper builds it (`paceline serve`)"
    );
}

#[test]
fn failure_and_plan_follow() {
    let failing = JobStatus { failing: Some("transient: HTTP 502".to_owned()), ..status() };
    assert_eq!(
        sentence_for(
            &failing,
            &location(12_000),
            true,
            Some("asked 30s, gets 47s: quota hour of connection 3")
        ),
        "due in 12 s (every 30s, normal); its last run failed: transient: HTTP 502; \
         asked 30s, gets 47s: quota hour of connection 3"
    );
}

#[test]
fn spans_use_a_readable_unit() {
    for (ms, text) in [
        (-5, "less than 1 s"),
        (1_000, "1 s"),
        (89_600, "90 s"),
        (119_500, "2 min"),
        (7_170_000, "2 h"),
        (172_800_000, "2 days"),
    ] {
        assert_eq!(span(ms), text);
    }
}

#[test]
fn users_are_not_told_what_only_operators_can_do() {
    let provider = Provider::parse("explained".parse().unwrap(), "explained.toml", PROVIDER).unwrap();
    let unknown = JobLocation { known: false, ..location(0) };
    let lost = JobLocation { due: false, ..location(-1_000) };
    for (location, is_built, cause) in [
        (&location(-4_000), true, Cause::NoWorker),
        (&location(-4_000), false, Cause::Scheduling),
        (&unknown, true, Cause::Scheduling),
        (&lost, true, Cause::Scheduling),
    ] {
        let (device, status, audience) = (DeviceId(7), &status(), Audience::User);
        let (incident, plan) = (None, None);
        let facts = Facts {
            now: NOW,
            device,
            provider: &provider,
            is_built,
            status,
            location,
            incident,
            plan,
            audience,
        };
        let told = sentence(&facts);
        assert_eq!(told.cause, cause);
        assert!(!told.text.contains("paceline "), "{}", told.text);
    }
}
