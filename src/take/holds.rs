//! What is held, as `holds.lua` and `lift.lua` say it.

use crate::words::{ConnectionId, DeviceId, Scope, UnixMs};
use serde::Deserialize;

/// What a hold stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldHolder {
    /// All calls to the provider.
    App,
    /// A connection's calls; to lift, also those of its groups and devices.
    Connection(ConnectionId),
    /// Calls of a connection's group.
    Group(ConnectionId, String),
    /// Calls of a connection's device.
    Device(ConnectionId, DeviceId),
}

/// A hold that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveHold {
    /// What it stops.
    pub holder: HoldHolder,
    /// Until when. After refusals it is over only when one call after that has gone well.
    pub until: UnixMs,
    /// Refusals in a row; 0 if it follows from something else.
    pub refusals: u32,
    /// Whether a call is in flight that shows whether it is over.
    pub is_tried: bool,
    /// When it began: the first of the refusals in a row.
    pub since: UnixMs,
    /// Until when the provider asked to wait; none if it did not say.
    pub reported_until: Option<UnixMs>,
    /// Why.
    pub reason: String,
}

impl HoldHolder {
    /// The scope that the hold is for.
    pub fn scope(&self) -> Scope {
        match self {
            Self::App => Scope::App,
            Self::Connection(_) => Scope::Connection,
            Self::Group(..) => Scope::Group,
            Self::Device(..) => Scope::Device,
        }
    }

    /// The connection, if it is not the whole app.
    pub fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::App => None,
            Self::Connection(id) | Self::Group(id, _) | Self::Device(id, _) => Some(*id),
        }
    }

    /// Holder and field in the quota state; an empty field is all of the holder's.
    pub(super) fn fields(&self) -> (String, String) {
        match self {
            Self::App => ("app".to_owned(), String::new()),
            Self::Connection(id) => (id.to_string(), String::new()),
            Self::Group(id, group) => (id.to_string(), format!("!hold@{group}")),
            Self::Device(id, device) => (id.to_string(), format!("!hold#{device}")),
        }
    }

    fn read(holder: &str, field: &str) -> Option<Self> {
        if holder == "app" {
            return Some(Self::App);
        }
        let (id, rest) = (ConnectionId(holder.parse().ok()?), field.strip_prefix("!hold")?);
        match (rest.strip_prefix('@'), rest.strip_prefix('#')) {
            (Some(group), _) => Some(Self::Group(id, group.to_owned())),
            (_, Some(device)) => Some(Self::Device(id, DeviceId(device.parse().ok()?))),
            _ => Some(Self::Connection(id)),
        }
    }
}

/// A hold as the scripts return it: holder, field, until, refusals, in flight, since, reported, reason.
#[derive(Deserialize)]
pub(super) struct HoldRow(String, String, f64, u32, u32, f64, f64, String);

impl HoldRow {
    /// None for what is not Paceline's.
    pub(super) fn read(self) -> Option<ActiveHold> {
        let Self(holder, field, until, refusals, in_flight, since, reported, reason) = self;
        let at = |ms: f64| UnixMs(ms as i64);
        Some(ActiveHold {
            holder: HoldHolder::read(&holder, &field)?,
            until: at(until),
            refusals,
            is_tried: in_flight > 0,
            since: at(since),
            reported_until: (reported > 0.0).then(|| at(reported)),
            reason,
        })
    }
}
