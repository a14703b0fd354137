//! Turns the facts about a job into a sentence for a person. Pure.

use crate::forecast::holder;
use crate::pace::Holder;
use crate::preference::job_status::JobStatus;
use crate::provider::{Provider, QuotaKind};
use crate::schedule::JobLocation;
use crate::words::{DeviceId, JobState, Scope, UnixMs};

/// The facts about a job.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// When they were read.
    pub now: UnixMs,
    /// Its device.
    pub device: DeviceId,
    /// Its device's provider.
    pub provider: &'a Provider,
    /// Whether the provider's schedule is built on this run of Redis; until then nothing is granted.
    pub is_built: bool,
    /// Its status in Postgres.
    pub status: &'a JobStatus,
    /// Its location in the schedule.
    pub location: &'a JobLocation,
    /// The interval it gets in the long run, if that is longer than it asks.
    pub plan: Option<&'a str>,
}

/// Prefix of a hold in [`JobLocation::blocked_by`]; without it, that is a quota's name.
const HOLD: &str = "hold: ";

/// Where a job is and what it waits for: `due in 12 s (every 30s, normal)`. Without a full stop.
pub fn sentence(facts: &Facts<'_>) -> String {
    let status = facts.status;
    let recorded =
        |reason: &Option<String>| reason.clone().unwrap_or_else(|| "no reason is recorded".to_owned());
    match status.state {
        JobState::Paused => "paused by its owner".to_owned(),
        JobState::Active | JobState::Probing if !status.usable => format!(
            "the provider refuses the credential of connection {:?}, and one job tries again: {}",
            status.label,
            recorded(&status.refusal)
        ),
        JobState::Probing => {
            let since = status.state_at.map_or(String::new(), |at| format!(" since {at}"));
            let reason = recorded(&status.reason);
            format!("it keeps failing{since} and is tried ever more rarely ({reason}): {}", scheduled(facts))
        }
        JobState::Active => {
            let mut text = scheduled(facts);
            if let Some(error) = &status.failing {
                text = format!("{text}; its last run failed: {error}");
            }
            facts.plan.map_or(text.clone(), |plan| format!("{text}; {plan}"))
        }
    }
}

/// For a job that must be on the schedule.
fn scheduled(facts: &Facts<'_>) -> String {
    let Facts { status, location, provider, now, .. } = facts;
    let resource = status.resource.as_str();
    if provider.resource(resource).is_none() {
        return format!("provider {} declares no resource {resource} any more", provider.name);
    }
    if !facts.is_built {
        let keeper = "a keeper builds it (`paceline serve`)";
        return format!("the schedule is not built since Redis started; {keeper}");
    }
    if !location.known {
        return "not on the schedule yet; a keeper puts it there (`paceline serve`)".to_owned();
    }
    if location.leased {
        return "being fetched".to_owned();
    }
    let late_ms = now.since_ms(UnixMs(location.due_ms));
    let overdue = format!("overdue by {}", span(late_ms));
    match (obstacle(facts), location.ready, late_ms >= 0) {
        (Some(Obstacle::Hold(text)), true, _) | (Some(Obstacle::Hold(text)), false, true) => text,
        (Some(Obstacle::Quota(text)), _, true) => format!("{overdue}; {text}"),
        (Some(Obstacle::Quota(text)), true, false) => format!("refreshed ahead of its time; {text}"),
        (None, true, true) => {
            format!("{overdue}; it waits behind other jobs of its lane, or for a worker")
        }
        (None, true, false) => "refreshed ahead of its time; it waits for a worker".to_owned(),
        (None, false, true) if location.due => {
            format!("{overdue}; no worker has picked it up yet (`paceline serve` runs workers)")
        }
        (stopped, false, false) if location.due => {
            let due = format!("due in {} ({}, {})", span(-late_ms), every(facts), status.priority);
            // An obstacle that ends before the job is due does not matter.
            match stopped.filter(|_| location.until_ms > location.due_ms as f64) {
                Some(stopped) => format!("{due}; {}", stopped.text()),
                None => due,
            }
        }
        _ => "the schedule has lost it; `paceline check --repair` puts it back".to_owned(),
    }
}

fn every(facts: &Facts<'_>) -> String {
    format!("every {}", facts.status.interval)
}

/// What blocks a lane, or a device in it.
enum Obstacle {
    Quota(String),
    Hold(String),
}

impl Obstacle {
    fn text(self) -> String {
        let (Self::Quota(text) | Self::Hold(text)) = self;
        text
    }
}

/// What blocks the job now, if anything does.
fn obstacle(facts: &Facts<'_>) -> Option<Obstacle> {
    let Facts { location, now, .. } = facts;
    // Negative or infinite: until a call ends.
    let until = (location.until_ms >= 0.0 && location.until_ms.is_finite())
        .then_some(UnixMs(location.until_ms as i64));
    if location.blocked_by.is_empty() || until.is_some_and(|until| until <= *now) {
        return None;
    }
    if let Some(reason) = location.blocked_by.strip_prefix(HOLD) {
        let until = until.map_or(String::new(), |until| format!(", until {}", instant(until, *now)));
        return Some(Obstacle::Hold(format!("held: {reason}{until}")));
    }
    let quota = facts.provider.quotas().find(|quota| quota.name == location.blocked_by);
    let of = quota.map_or(String::new(), |quota| format!(" of {}", holder(&holder_in(facts, quota.scope))));
    // For calls in flight the instant is only an upper bound: one ends by then.
    let is_in_flight = quota.is_some_and(|quota| quota.kind == QuotaKind::Concurrent);
    let when = match until.filter(|_| !is_in_flight) {
        Some(until) => format!("in {}", span(until.since_ms(*now))),
        None => "when a call ends".to_owned(),
    };
    Some(Obstacle::Quota(format!("quota `{}`{of} allows it {when}", location.blocked_by)))
}

/// The holder of the job in a scope.
fn holder_in(facts: &Facts<'_>, scope: Scope) -> Holder {
    let connection = facts.status.connection;
    match (scope, facts.location.lane.split_once('.')) {
        (Scope::App, _) => Holder::App,
        (Scope::Device, _) => Holder::Device(facts.device),
        (Scope::Group, Some((_, group))) => Holder::Group(connection, group.to_owned()),
        (Scope::Group, None) | (Scope::Connection, _) => Holder::Connection(connection),
    }
}

/// A duration in the unit a person would choose.
fn span(ms: i64) -> String {
    match ms.max(0) {
        ms if ms < 1_000 => "less than 1 s".to_owned(),
        ms if ms < 119_500 => format!("{} s", (ms + 500) / 1_000),
        ms if ms < 7_170_000 => format!("{} min", (ms + 30_000) / 60_000),
        ms if ms < 171_000_000 => format!("{} h", (ms + 1_800_000) / 3_600_000),
        ms => format!("{} days", (ms + 43_200_000) / 86_400_000),
    }
}

/// An instant as a time of day, with the date if it is another day.
fn instant(at: UnixMs, now: UnixMs) -> String {
    let (at, now) = (at.to_datetime(), now.to_datetime());
    let format = if at.date_naive() == now.date_naive() { "%H:%M:%S UTC" } else { "%Y-%m-%d %H:%M UTC" };
    at.format(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{ConnectionId, JobId, Priority};

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
            resource: "state".parse().unwrap(),
            interval: "30s".parse().unwrap(),
            priority: Priority::Normal,
            state: JobState::Active,
            state_at: None,
            reason: None,
            connection: ConnectionId(3),
            label: "home".to_owned(),
            usable: true,
            refusal: None,
            fetched_at: None,
            failing: None,
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
        }
    }

    fn ready(since_ms: i64) -> JobLocation {
        JobLocation { due: false, ready: true, ..location(-since_ms) }
    }

    fn stopped(location: JobLocation, why: &str, in_ms: i64) -> JobLocation {
        JobLocation { until_ms: (NOW.0 + in_ms) as f64, blocked_by: why.to_owned(), ..location }
    }

    fn sentence_for(
        status: &JobStatus,
        location: &JobLocation,
        is_built: bool,
        plan: Option<&str>,
    ) -> String {
        let provider = Provider::parse("explained".parse().unwrap(), "explained.toml", PROVIDER).unwrap();
        let device = DeviceId(7);
        sentence(&Facts { now: NOW, device, provider: &provider, is_built, status, location, plan })
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
                JobStatus { usable: false, refusal: Some("HTTP 401".to_owned()), ..status() },
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
            (
                location(-4_000),
                "overdue by 4 s; no worker has picked it up yet (`paceline serve` runs workers)",
            ),
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
            (
                stopped(ready(40_000), "hold: HTTP 503", 86_400_000),
                "held: HTTP 503, until 2027-01-16 10:00 UTC",
            ),
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
}
