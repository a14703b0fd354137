//! What blocks a job now: a quota or a hold, as a text for a person. Pure.

use super::facts::Facts;
use crate::forecast::holder;
use crate::pace::Holder;
use crate::provider::QuotaKind;
use crate::words::{Scope, UnixMs};

/// Prefix of a hold in [`JobLocation::blocked_by`]; without it, that is a quota's name.
const HOLD: &str = "hold: ";

/// What blocks a lane, or a device in it.
pub(super) enum Obstacle {
    Quota(String),
    Hold(String),
}

impl Obstacle {
    pub(super) fn text(self) -> String {
        let (Self::Quota(text) | Self::Hold(text)) = self;
        text
    }
}

/// What blocks the job now, if anything does.
pub(super) fn obstacle(facts: &Facts<'_>) -> Option<Obstacle> {
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
pub(super) fn span(ms: i64) -> String {
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
