//! From what is known of a job to a sentence for a person. Pure.

use crate::forecast::holder;
use crate::pace::Holder;
use crate::preference::job_status::JobStatus;
use crate::provider::{Provider, QuotaKind};
use crate::schedule::JobLocation;
use crate::words::{DeviceId, JobState, Scope, UnixMs};

/// What is known of a job.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// When that was.
    pub now: UnixMs,
    /// Its device.
    pub device: DeviceId,
    /// Its device's provider.
    pub provider: &'a Provider,
    /// Whether the provider's schedule is built on this run of Redis: before that nothing is granted.
    pub is_built: bool,
    /// What Postgres knows.
    pub status: &'a JobStatus,
    /// Where the schedule has it.
    pub location: &'a JobLocation,
    /// What it gets in the long run, if that is less than it asks.
    pub plan: Option<&'a str>,
}

/// How a hold begins where the schedule tells what stops a lane; anything else there is a quota's name.
const HOLD: &str = "hold: ";

/// Where a job is and what it waits for: `due in 12 s (every 30s, normal)`. Without a full stop.
pub fn sentence(facts: &Facts<'_>) -> String {
    let status = facts.status;
    let told = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "no reason is kept".to_owned());
    match status.state {
        JobState::Paused => "paused by its owner".to_owned(),
        JobState::Parked => format!("parked: {}", told(&status.reason)),
        JobState::Active if !status.usable => {
            format!("connection {:?} needs a new credential: {}", status.label, told(&status.refusal))
        }
        JobState::Active => {
            let mut text = scheduled(facts);
            if let Some(error) = &status.failing {
                text = format!("{text}; its last turn failed: {error}");
            }
            facts.plan.map_or(text.clone(), |plan| format!("{text}; {plan}"))
        }
    }
}

/// Of a job that the schedule must have.
fn scheduled(facts: &Facts<'_>) -> String {
    let Facts { status, location, provider, now, .. } = facts;
    let resource = status.resource.as_str();
    if provider.resource(resource).is_none() {
        return format!("provider {} declares no resource {resource} any more", provider.name);
    }
    if !facts.is_built {
        let keeper = "a keeper does that (`paceline serve`)";
        return format!("the schedule is not built since Redis began; {keeper}");
    }
    if !location.known {
        return "the schedule has not heard of it yet; a keeper tells it (`paceline serve`)".to_owned();
    }
    if location.leased {
        return "being fetched".to_owned();
    }
    let late_ms = now.since_ms(UnixMs(location.due_ms));
    let came = format!("its time came {} ago", span(late_ms));
    match (obstacle(facts), location.ready, late_ms >= 0) {
        (Some(Obstacle::Hold(text)), true, _) | (Some(Obstacle::Hold(text)), false, true) => text,
        (Some(Obstacle::Quota(text)), _, true) => format!("{came}; {text}"),
        (Some(Obstacle::Quota(text)), true, false) => format!("asked for ahead of its time; {text}"),
        (None, true, true) => {
            format!("{came}; it waits in line behind others of its account, or for a worker")
        }
        (None, true, false) => "asked for ahead of its time; it goes as soon as a worker takes it".to_owned(),
        (None, false, true) if location.due => {
            format!("{came}; no worker has lined it up yet (`paceline serve` runs them)")
        }
        (stopped, false, false) if location.due => {
            let due = format!("due in {} ({}, {})", span(-late_ms), every(facts), status.priority);
            // What is over by then, or may be, stops nobody.
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

/// What stops a lane, or a device in it.
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

/// What stops it; none if nothing does, or no longer.
fn obstacle(facts: &Facts<'_>) -> Option<Obstacle> {
    let Facts { location, now, .. } = facts;
    // Negative is not before a call ends; so is what never ends by itself.
    let until = (location.until_ms >= 0.0 && location.until_ms.is_finite())
        .then_some(UnixMs(location.until_ms as i64));
    if location.why.is_empty() || until.is_some_and(|until| until <= *now) {
        return None;
    }
    if let Some(reason) = location.why.strip_prefix(HOLD) {
        let until = until.map_or(String::new(), |until| format!(", until {}", instant(until, *now)));
        return Some(Obstacle::Hold(format!("held: {reason}{until}")));
    }
    let quota = facts.provider.quotas().find(|quota| quota.name == location.why);
    let of = quota.map_or(String::new(), |quota| format!(" of {}", holder(&whose(facts, quota.scope))));
    // The instant that stands there for calls in flight is only the latest at which one must have ended.
    let is_in_flight = quota.is_some_and(|quota| quota.kind == QuotaKind::Concurrent);
    let when = match until.filter(|_| !is_in_flight) {
        Some(until) => format!("in {}", span(until.since_ms(*now))),
        None => "when a call ends".to_owned(),
    };
    Some(Obstacle::Quota(format!("quota `{}`{of} lets it go {when}", location.why)))
}

/// Whom of those that a scope tells apart the job belongs to.
fn whose(facts: &Facts<'_>, scope: Scope) -> Holder {
    let connection = facts.status.connection;
    match (scope, facts.location.lane.split_once('.')) {
        (Scope::App, _) => Holder::App,
        (Scope::Device, _) => Holder::Device(facts.device),
        (Scope::Group, Some((_, group))) => Holder::Group(connection, group.to_owned()),
        (Scope::Group, None) | (Scope::Connection, _) => Holder::Connection(connection),
    }
}

/// A length of time in the unit that a person would choose.
fn span(ms: i64) -> String {
    match ms.max(0) {
        ms if ms < 1_000 => "less than 1 s".to_owned(),
        ms if ms < 119_500 => format!("{} s", (ms + 500) / 1_000),
        ms if ms < 7_170_000 => format!("{} min", (ms + 30_000) / 60_000),
        ms if ms < 171_000_000 => format!("{} h", (ms + 1_800_000) / 3_600_000),
        ms => format!("{} days", (ms + 43_200_000) / 86_400_000),
    }
}

/// An instant by the clock on the wall, with its day if that is another.
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
title = "Told"
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
            reason: None,
            connection: ConnectionId(3),
            label: "home".to_owned(),
            usable: true,
            refusal: None,
            fetched_at: None,
            failing: None,
        }
    }

    /// Where nothing stops it; due so long from now.
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
            why: String::new(),
        }
    }

    fn ready(since_ms: i64) -> JobLocation {
        JobLocation { due: false, ready: true, ..location(-since_ms) }
    }

    fn stopped(location: JobLocation, why: &str, in_ms: i64) -> JobLocation {
        JobLocation { until_ms: (NOW.0 + in_ms) as f64, why: why.to_owned(), ..location }
    }

    fn told(status: &JobStatus, location: &JobLocation, is_built: bool, plan: Option<&str>) -> String {
        let provider = Provider::parse("told".parse().unwrap(), "told.toml", PROVIDER).unwrap();
        let device = DeviceId(7);
        sentence(&Facts { now: NOW, device, provider: &provider, is_built, status, location, plan })
    }

    #[test]
    fn what_is_not_scheduled_says_by_whom() {
        let reason = Some("gone: HTTP 404".to_owned());
        for (status, text) in [
            (JobStatus { state: JobState::Paused, ..status() }, "paused by its owner"),
            (JobStatus { state: JobState::Parked, reason, ..status() }, "parked: gone: HTTP 404"),
            (JobStatus { state: JobState::Parked, ..status() }, "parked: no reason is kept"),
            (
                JobStatus { usable: false, refusal: Some("HTTP 401".to_owned()), ..status() },
                "connection \"home\" needs a new credential: HTTP 401",
            ),
            (
                JobStatus { resource: "power".parse().unwrap(), ..status() },
                "provider told declares no resource power any more",
            ),
        ] {
            assert_eq!(
                told(&status, &location(12_000), true, Some("no plan")).replace("; no plan", ""),
                text
            );
        }
    }

    #[test]
    fn where_a_job_is_and_what_it_waits_for() {
        let lane = |lane: &str| JobLocation { lane: lane.to_owned(), ..ready(40_000) };
        let never = JobLocation { until_ms: -1.0, ..stopped(ready(40_000), "second", 0) };
        for (location, text) in [
            (location(12_000), "due in 12 s (every 30s, normal)"),
            (
                ready(4_000),
                "its time came 4 s ago; it waits in line behind others of its account, or for a worker",
            ),
            (JobLocation { ready: false, leased: true, ..ready(4_000) }, "being fetched"),
            (ready(-9_000), "asked for ahead of its time; it goes as soon as a worker takes it"),
            (
                location(-4_000),
                "its time came 4 s ago; no worker has lined it up yet (`paceline serve` runs them)",
            ),
            (
                stopped(ready(40_000), "hour", 120_000),
                "its time came 40 s ago; quota `hour` of connection 3 lets it go in 2 min",
            ),
            (
                stopped(lane("3.attic"), "home", 500),
                "its time came 40 s ago; quota `home` of group attic of connection 3 lets it go in less than 1 s",
            ),
            (
                stopped(lane("3"), "home", 61_000),
                "its time came 40 s ago; quota `home` of connection 3 lets it go in 61 s",
            ),
            (
                stopped(location(-40_000), "own", 7_200_000),
                "its time came 40 s ago; quota `own` of device 7 lets it go in 2 h",
            ),
            (never, "its time came 40 s ago; quota `second` of the application lets it go when a call ends"),
            (
                stopped(ready(40_000), "at-once", 60_000),
                "its time came 40 s ago; quota `at-once` of connection 3 lets it go when a call ends",
            ),
            (
                stopped(ready(40_000), "of-old", 60_000),
                "its time came 40 s ago; quota `of-old` lets it go in 60 s",
            ),
            (
                stopped(ready(-9_000), "hour", 60_000),
                "asked for ahead of its time; quota `hour` of connection 3 lets it go in 60 s",
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
                "its time came 4 s ago; it waits in line behind others of its account, or for a worker",
            ),
            (
                JobLocation { known: false, ..location(0) },
                "the schedule has not heard of it yet; a keeper tells it (`paceline serve`)",
            ),
            (
                JobLocation { due: false, ..location(-1_000) },
                "the schedule has lost it; `paceline check --repair` puts it back",
            ),
        ] {
            assert_eq!(told(&status(), &location, true, None), text, "{location:?}");
        }
        let unbuilt = told(&status(), &location(12_000), false, None);
        assert_eq!(
            unbuilt,
            "the schedule is not built since Redis began; a keeper does that (`paceline serve`)"
        );
    }

    #[test]
    fn failures_and_the_plan_come_after() {
        let failing = JobStatus { failing: Some("transient: HTTP 502".to_owned()), ..status() };
        assert_eq!(
            told(&failing, &location(12_000), true, Some("asked 30s, gets 47s: quota hour of connection 3")),
            "due in 12 s (every 30s, normal); its last turn failed: transient: HTTP 502; \
             asked 30s, gets 47s: quota hour of connection 3"
        );
    }

    #[test]
    fn spans_have_a_persons_unit() {
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
