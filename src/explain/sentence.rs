//! Turns the facts about a job into a cause, and a sentence for a person. Pure.

use super::facts::{Audience, Facts};
use super::obstacle::{Obstacle, obstacle, span};
use crate::words::{ConnectionState, Incident, JobState, UnixMs};
use serde::Serialize;

/// What a job waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its time has not come.
    Due,
    /// It is being fetched.
    Fetching,
    /// "Refresh now": it runs as soon as it can.
    Ahead,
    /// Its time has come; others of its account go first, or no worker is free.
    Queued,
    /// Its time has come, and no worker has picked it up.
    NoWorker,
    /// A quota does not allow it yet.
    Quota,
    /// The provider asked for a wait.
    Held,
    /// The provider fails for many.
    Incident,
    /// Its owner paused it.
    Paused,
    /// The provider refuses the connection's credential.
    SignedOut,
    /// It keeps failing, and is tried again ever more rarely.
    Failing,
    /// The provider's definition has no such resource any more.
    NoResource,
    /// The schedule is being built anew, or does not have the job yet.
    Scheduling,
}

/// Where a job is and what it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What it waits for.
    pub cause: Cause,
    /// `due in 12 s (every 30s, normal)`: without a full stop.
    pub text: String,
}

fn by(cause: Cause, text: impl Into<String>) -> Explanation {
    Explanation { cause, text: text.into() }
}

/// Where a job is and what it waits for.
pub fn sentence(facts: &Facts<'_>) -> Explanation {
    let status = facts.status;
    let recorded = |reason: &Option<String>| reason.clone().unwrap_or("no reason is recorded".to_owned());
    match status.state {
        JobState::Paused => by(Cause::Paused, "paused by its owner"),
        JobState::Active | JobState::Probing if status.connection_state == ConnectionState::Paused => {
            by(Cause::Paused, format!("connection {:?} is paused by its owner", status.label))
        }
        JobState::Active | JobState::Probing if status.connection_state == ConnectionState::Closed => {
            by(Cause::Paused, format!("connection {:?} is closed: its secrets are deleted", status.label))
        }
        JobState::Active | JobState::Probing if !status.connection_state.is_active() => by(
            Cause::SignedOut,
            format!(
                "the provider refuses the credential of connection {:?}, and one job tries again: {}",
                status.label,
                recorded(&status.refusal)
            ),
        ),
        JobState::Probing => {
            let since = status.state_at.map_or(String::new(), |at| format!(" since {at}"));
            let (reason, scheduled) = (recorded(&status.reason), scheduled(facts).text);
            let text =
                format!("it keeps failing{since} and is tried ever more rarely ({reason}): {scheduled}");
            by(Cause::Failing, text)
        }
        JobState::Active => {
            let Explanation { cause, text } = scheduled(facts);
            let text = format!("{text}{}", last_run(facts));
            by(cause, facts.plan.map_or(text.clone(), |plan| format!("{text}; {plan}")))
        }
    }
}

/// What the last run says, if it did not bring a fresh reading: `; the device is offline since …`.
fn last_run(facts: &Facts<'_>) -> String {
    let status = facts.status;
    if let Some(error) = &status.failing {
        return format!("; its last run failed: {error}");
    }
    match (&status.last_error, &status.latest) {
        (Some(error), _) => format!("; its last run brought nothing: {error}"),
        (None, Some(latest)) if !latest.online => {
            format!("; the provider says that the device is offline, since {}", latest.changed_at)
        }
        (None, Some(latest)) => {
            // The fetch is as recent as it can be: only the observation can be at fault.
            let is_observed = latest.is_fresh(status.interval, i64::MAX / 2, facts.now);
            let age = span(latest.age_ms(facts.now));
            if is_observed {
                String::new()
            } else {
                format!("; its source has observed nothing new for {age}")
            }
        }
        (None, None) => String::new(),
    }
}

/// For a job that must be on the schedule.
fn scheduled(facts: &Facts<'_>) -> Explanation {
    let Facts { status, location, provider, now, .. } = facts;
    // What only an operator can do is no advice to others.
    let operator = |advice: &'static str| if facts.audience == Audience::Operator { advice } else { "" };
    let resource = status.resource.as_str();
    if provider.resource(resource).is_none() {
        let text = format!("provider {} declares no resource {resource} any more", provider.name);
        return by(Cause::NoResource, text);
    }
    if !facts.is_built {
        let serve = operator(" (`paceline serve`)");
        let text = format!("the schedule is not built since Redis started; a keeper builds it{serve}");
        return by(Cause::Scheduling, text);
    }
    if !location.known {
        let serve = operator(" (`paceline serve`)");
        return by(Cause::Scheduling, format!("not on the schedule yet; a keeper puts it there{serve}"));
    }
    if location.leased {
        return by(Cause::Fetching, "being fetched");
    }
    let late_ms = now.since_ms(UnixMs(location.due_ms));
    if let Some(Incident { outcome, since, failing, called, next_probe: Some(at) }) = facts.incident
        && late_ms >= 0
    {
        let whom = format!("{failing} of {called} connections since {since}");
        let text = format!(
            "held: the provider fails for {whom} ({outcome}); a few calls probe it, the next at {at}"
        );
        return by(Cause::Incident, text);
    }
    let overdue = format!("overdue by {}", span(late_ms));
    match (obstacle(facts), location.ready, late_ms >= 0) {
        (Some(Obstacle::Hold(text)), true, _) | (Some(Obstacle::Hold(text)), false, true) => {
            by(Cause::Held, text)
        }
        (Some(Obstacle::Quota(text)), _, true) => by(Cause::Quota, format!("{overdue}; {text}")),
        (Some(Obstacle::Quota(text)), true, false) => {
            by(Cause::Quota, format!("refreshed ahead of its time; {text}"))
        }
        (None, true, true) => {
            by(Cause::Queued, format!("{overdue}; it waits behind other jobs of its lane, or for a worker"))
        }
        (None, true, false) => by(Cause::Ahead, "refreshed ahead of its time; it waits for a worker"),
        (None, false, true) if location.due => {
            let serve = operator(" (`paceline serve` runs workers)");
            by(Cause::NoWorker, format!("{overdue}; no worker has picked it up yet{serve}"))
        }
        (stopped, false, false) if location.due => {
            let due = format!("due in {} ({}, {})", span(-late_ms), every(facts), status.priority);
            // An obstacle that ends before the job is due does not matter.
            match stopped.filter(|_| location.until_ms > location.due_ms as f64) {
                Some(stopped) => by(Cause::Due, format!("{due}; {}", stopped.text())),
                None => by(Cause::Due, due),
            }
        }
        _ => match facts.audience {
            Audience::Operator => {
                by(Cause::Scheduling, "the schedule has lost it; `paceline check --repair` puts it back")
            }
            Audience::User => by(Cause::Scheduling, "the schedule has lost it; the next check puts it back"),
        },
    }
}

fn every(facts: &Facts<'_>) -> String {
    format!("every {}", facts.status.interval)
}

#[cfg(test)]
mod tests;
