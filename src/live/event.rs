//! What readers are told, and which of it a reader wants.

use crate::cache::{Change, ChangeId, Changed};
use crate::read::{DeviceView, ResourceView};
use crate::words::{DeviceId, JobState};
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;

/// One event of a tenant's stream.
#[derive(Debug, Clone)]
pub struct Event {
    /// Which change it tells.
    pub id: ChangeId,
    /// What it tells.
    pub payload: Payload,
    /// The same as JSON: written once, however many readers there are.
    pub json: Arc<str>,
}

/// What an event tells.
#[derive(Debug, Clone)]
pub enum Payload {
    /// A resource has a new reading.
    Reading(Arc<DeviceView>),
    /// A device, or what is asked of it, changed.
    Device(Arc<DeviceView>),
    /// A device is gone.
    Gone(DeviceId),
    /// A call for a device has ended, whatever it came to.
    Ended(DeviceId),
    /// Changes were missed: read the devices anew.
    Resync,
}

#[derive(Serialize)]
struct ReadingJson<'a> {
    device: DeviceId,
    name: &'a str,
    provider: &'a str,
    connection: &'a str,
    group: Option<&'a str>,
    resource: &'a str,
    #[serde(flatten)]
    view: &'a ResourceView,
}

impl Event {
    /// What tells this change, if the device is as in `view`. None if there is nothing to tell: a resource that has no
    /// job any more.
    pub(super) fn of(change: Change, view: Option<&Arc<DeviceView>>) -> Option<Self> {
        let Some(view) = view else {
            let json = serde_json::json!({ "device": change.device }).to_string();
            return Some(Self { id: change.id, payload: Payload::Gone(change.device), json: json.into() });
        };
        let (payload, json) = match change.changed {
            Changed::Reading(resource) => {
                let reading = ReadingJson {
                    device: view.id,
                    name: &view.name,
                    provider: &view.provider,
                    connection: &view.connection,
                    group: view.group.as_deref(),
                    view: view.resources.get(&resource)?,
                    resource: &resource,
                };
                (Payload::Reading(view.clone()), serde_json::to_string(&reading).ok()?)
            }
            Changed::Device | Changed::Gone => {
                (Payload::Device(view.clone()), serde_json::to_string(&**view).ok()?)
            }
        };
        Some(Self { id: change.id, payload, json: json.into() })
    }

    /// A call for a device has ended. The event is no change, so it has no id of its own.
    pub(super) fn ended(device: DeviceId) -> Self {
        Self { id: ChangeId::NONE, payload: Payload::Ended(device), json: "{}".into() }
    }

    /// Tells that changes were missed.
    pub(super) fn resync(id: ChangeId, reason: &str) -> Self {
        let json = serde_json::json!({ "reason": reason }).to_string();
        Self { id, payload: Payload::Resync, json: json.into() }
    }
}

impl Payload {
    /// The event's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reading(_) => "reading",
            Self::Device(_) => "device",
            Self::Gone(_) => "gone",
            Self::Ended(_) => "ended",
            Self::Resync => "resync",
        }
    }
}

/// Which devices a reader wants to hear of. What is none does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of these.
    pub ids: Option<HashSet<DeviceId>>,
    /// At this provider.
    pub provider: Option<String>,
    /// Under a connection of this label.
    pub connection: Option<String>,
    /// Of this home or site.
    pub group: Option<String>,
    /// With a job in this state.
    pub state: Option<JobState>,
    /// With this text in their names, in lower case.
    pub name_contains: Option<String>,
    /// Also ends of calls, for a wait for the end of a refresh.
    pub ends: bool,
}

impl Filter {
    /// Whether the reader wants this event. That a device is gone is told to all who did not name others: nobody knows
    /// any more what it was.
    pub fn wants(&self, event: &Event) -> bool {
        match &event.payload {
            Payload::Reading(view) | Payload::Device(view) => self.names(view.id) && self.matches(view),
            Payload::Gone(device) => self.names(*device),
            Payload::Ended(device) => self.ends && self.names(*device),
            Payload::Resync => true,
        }
    }

    /// Whether the reader may want what changes of this device.
    pub fn names(&self, device: DeviceId) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&device))
    }

    fn matches(&self, view: &DeviceView) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.provider, &view.provider)
            && is(&self.connection, &view.connection)
            && is(&self.group, view.group.as_deref().unwrap_or_default())
            && self.state.is_none_or(|state| view.resources.values().any(|resource| resource.state == state))
            && self.name_contains.as_ref().is_none_or(|part| view.name.to_lowercase().contains(part))
    }
}
