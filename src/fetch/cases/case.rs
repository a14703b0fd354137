//! The file format of a case.

use crate::words::{Interval, ResourceName, Scope};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case shows.
    pub name: String,
    /// The resource to fetch; or `discovery` for the listing of devices, `bootstrap` for bootstrap values.
    pub resource: ResourceName,
    /// The connection's params.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Known bootstrap values of the account.
    #[serde(default)]
    pub bootstrap: BTreeMap<String, String>,
    /// External ids of the call's devices; empty for `discovery` and `bootstrap`.
    #[serde(default)]
    pub devices: Vec<String>,
    /// The devices' group.
    #[serde(default)]
    pub group: String,
    /// The validators of each device's last response.
    #[serde(default)]
    pub seen: Option<ExpectedValidators>,
    /// The time of the call; 2026-01-01 00:00 UTC when absent.
    #[serde(default)]
    pub at: Option<DateTime<Utc>>,
    /// The expected request.
    #[serde(default)]
    pub request: Option<ExpectedRequest>,
    /// The cloud's response.
    pub answer: CaseResponse,
    /// Further exchanges: later pages, or the call after a probe.
    #[serde(default)]
    pub then: Vec<Next>,
    /// The expected result.
    pub expect: Expected,
}

/// Validators of a response, with which the next call can ask for changes only.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedValidators {
    /// `ETag`.
    #[serde(default)]
    pub etag: Option<String>,
    /// `Last-Modified`.
    #[serde(default)]
    pub last_modified: Option<String>,
    /// The change token.
    #[serde(default)]
    pub since: Option<Value>,
    /// The device's revision.
    #[serde(default)]
    pub revision: Option<String>,
}

/// A later page, or the call after a probe.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// The expected request.
    #[serde(default)]
    pub request: Option<ExpectedRequest>,
    /// The cloud's response.
    pub answer: CaseResponse,
}

/// An expected request; absent parts may be anything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedRequest {
    /// `GET` or `POST`.
    #[serde(default)]
    pub method: Option<String>,
    /// Scheme, host and port, such as `https://api.example.com`.
    #[serde(default)]
    pub origin: Option<String>,
    /// Encoded as it is sent.
    #[serde(default)]
    pub path: Option<String>,
    /// Some of the parameters, decoded.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Some of the headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Some keys of a JSON body.
    #[serde(default)]
    pub json: Option<Map<String, Value>>,
    /// Some keys of a form body, decoded.
    #[serde(default)]
    pub form: BTreeMap<String, String>,
}

/// A cloud's response.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseResponse {
    /// The HTTP status.
    pub status: u16,
    /// Headers in addition to `Date` and `Content-Type`, or replacing them.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A file with the body, next to the file of cases.
    #[serde(default)]
    pub file: Option<String>,
    /// The body as text.
    #[serde(default)]
    pub body: Option<String>,
}

/// The expected result for the first device. Absent parts may be anything, except for the hold: a case without one
/// expects none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Name of the outcome; `listed` for a list, `learned` for bootstrap values.
    pub outcome: String,
    /// Whether the device is online.
    #[serde(default)]
    pub online: Option<bool>,
    /// All values of the record.
    #[serde(default)]
    pub values: Option<Map<String, Value>>,
    /// When the values were observed, by the source's clock.
    #[serde(default)]
    pub observed_at: Option<DateTime<Utc>>,
    /// Scope of the hold.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// Duration of the hold.
    #[serde(default)]
    pub wait: Option<Interval>,
    /// The validators that are stored for the next call.
    #[serde(default)]
    pub seen: Option<ExpectedValidators>,
    /// All bootstrap values that the response sets or corrects.
    #[serde(default)]
    pub bootstrap: Option<BTreeMap<String, String>>,
    /// All devices of a listing, ordered by id.
    #[serde(default)]
    pub devices: Option<Vec<ExpectedDevice>>,
    /// What further devices come to, by their id; one that is absent comes to the same outcome as the first.
    #[serde(default)]
    pub others: BTreeMap<String, ExpectedOutcome>,
}

/// What one further device of a case comes to. Absent parts may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedOutcome {
    /// Name of the outcome.
    pub outcome: String,
    /// Whether the device is online.
    #[serde(default)]
    pub online: Option<bool>,
    /// All values of the record.
    #[serde(default)]
    pub values: Option<Map<String, Value>>,
    /// When the values were observed, by the source's clock.
    #[serde(default)]
    pub observed_at: Option<DateTime<Utc>>,
}

/// An expected device of a listing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedDevice {
    /// The provider's id of the device.
    pub id: String,
    /// Name at the provider; empty if it has none.
    #[serde(default)]
    pub name: String,
    /// Home or site; empty if it has none.
    #[serde(default)]
    pub group: String,
    /// Model; empty if the response does not have it.
    #[serde(default)]
    pub model: String,
    /// Resources to fetch; absent: those that devices get by default.
    #[serde(default)]
    pub resources: Option<Vec<ResourceName>>,
}

impl Case {
    /// The cloud's responses, in order.
    pub fn responses(&self) -> impl Iterator<Item = &CaseResponse> {
        std::iter::once(&self.answer).chain(self.then.iter().map(|next| &next.answer))
    }

    /// The expected requests, in order.
    pub fn requests(&self) -> impl Iterator<Item = Option<&ExpectedRequest>> + Clone {
        std::iter::once(self.request.as_ref()).chain(self.then.iter().map(|next| next.request.as_ref()))
    }
}

/// A difference between a case's expectation and the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What differs, such as `request.path` or `values.temperature_c`.
    pub what: String,
    /// The value in the case.
    pub expected: String,
    /// The actual value.
    pub got: String,
}

/// The difference for a case that cannot run.
pub(crate) fn invalid_case(what: &str, got: String) -> Difference {
    Difference { what: what.to_owned(), expected: "a case that can run".to_owned(), got }
}
