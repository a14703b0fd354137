//! A case as it is written.

use crate::words::{Interval, ResourceName, Scope};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// What is asked for; `discovery` is the listing of devices, `bootstrap` what calls need to know first.
    pub resource: ResourceName,
    /// Of the connection.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// What was learned of its account before.
    #[serde(default)]
    pub bootstrap: BTreeMap<String, String>,
    /// External ids of the devices in the call; none for the listing and for bootstrap values.
    #[serde(default)]
    pub devices: Vec<String>,
    /// Their group.
    #[serde(default)]
    pub group: String,
    /// What the last answer told of the state of each of them.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// When; the first of January 2026, 00:00 UTC, when absent.
    #[serde(default)]
    pub at: Option<DateTime<Utc>>,
    /// What the request must be.
    #[serde(default)]
    pub request: Option<Asked>,
    /// What the cloud answers.
    pub answer: Said,
    /// Further pages, or what follows a probe: what each request must be, and what is answered.
    #[serde(default)]
    pub then: Vec<Next>,
    /// What must come of it.
    pub expect: Expected,
}

/// What an answer tells by which the next call asks only for what is new.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// HTTP's entity tag.
    #[serde(default)]
    pub etag: Option<String>,
    /// HTTP's time of the last modification.
    #[serde(default)]
    pub last_modified: Option<String>,
    /// A change token.
    #[serde(default)]
    pub since: Option<Value>,
    /// A device's revision.
    #[serde(default)]
    pub revision: Option<String>,
}

/// A further page, or what follows a probe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// What the request must be.
    #[serde(default)]
    pub request: Option<Asked>,
    /// What the cloud answers.
    pub answer: Said,
}

/// What a request must be; what is not named may be anything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// `GET` or `POST`.
    #[serde(default)]
    pub method: Option<String>,
    /// Scheme, host and port, such as `https://api.example.com`.
    #[serde(default)]
    pub origin: Option<String>,
    /// Not encoded any further than it is sent.
    #[serde(default)]
    pub path: Option<String>,
    /// Some of it, decoded.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Some of them.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Some keys of the body.
    #[serde(default)]
    pub json: Option<Map<String, Value>>,
    /// Likewise, of a form.
    #[serde(default)]
    pub form: BTreeMap<String, String>,
}

/// What the cloud answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// Headers beside `Date` and `Content-Type`, or in their place.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, beside the file of cases.
    #[serde(default)]
    pub file: Option<String>,
    /// The body itself.
    #[serde(default)]
    pub body: Option<String>,
}

/// What must come of it, for the first device; what is not named may be anything, but for holds: a case without one
/// means that there is none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Its word; `listed` for a list.
    pub outcome: String,
    /// Whether the device is reached.
    #[serde(default)]
    pub online: Option<bool>,
    /// All values of the record.
    #[serde(default)]
    pub values: Option<Map<String, Value>>,
    /// By the source's clock.
    #[serde(default)]
    pub observed_at: Option<DateTime<Utc>>,
    /// How far the hold reaches.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// How long it lasts.
    #[serde(default)]
    pub wait: Option<Interval>,
    /// What is kept of it for the next call.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// Bootstrap values that are learned: all of them. The outcome of asking for them is `learned`.
    #[serde(default)]
    pub bootstrap: Option<BTreeMap<String, String>>,
    /// Of the listing: all of it, in the order of ids. Its outcome is `listed`.
    #[serde(default)]
    pub devices: Option<Vec<ExpectedDevice>>,
}

/// A device of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedDevice {
    /// The provider's id of it.
    pub id: String,
    /// What it is called there; empty for nothing.
    #[serde(default)]
    pub name: String,
    /// Its home or site; empty for none.
    #[serde(default)]
    pub group: String,
    /// What kind of device it is; empty where that is not told.
    #[serde(default)]
    pub model: String,
    /// What can be fetched of it; none: what a device gets by default.
    #[serde(default)]
    pub resources: Option<Vec<ResourceName>>,
}

impl Case {
    /// What the cloud answers, page after page.
    pub fn answers(&self) -> impl Iterator<Item = &Said> {
        std::iter::once(&self.answer).chain(self.then.iter().map(|next| &next.answer))
    }

    /// What each request must be, in their order.
    pub fn requests(&self) -> impl Iterator<Item = Option<&Asked>> + Clone {
        std::iter::once(self.request.as_ref()).chain(self.then.iter().map(|next| next.request.as_ref()))
    }
}

/// One thing that is not as a case expects it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What: `request.path`, `values.temperature_c`.
    pub what: String,
    /// What the case says.
    pub expected: String,
    /// What it was.
    pub got: String,
}

/// What keeps a case from running.
pub(crate) fn unfit(what: &str, got: String) -> Difference {
    Difference { what: what.to_owned(), expected: "a case that can run".to_owned(), got }
}
