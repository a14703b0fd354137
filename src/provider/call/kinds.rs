//! Kinds of requests and responses.

use schemars::JsonSchema;
use serde::Deserialize;

/// How many devices one call serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// One.
    #[default]
    Device,
    /// The devices whose ids the request names, up to `batch_max`.
    Batch,
    /// All devices of a group.
    Group,
    /// All devices of a connection.
    Connection,
}

/// The format of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON document.
    #[default]
    Json,
    /// One JSON document per line: jq sees an array of them. A line that is none is left out. An error response is one
    /// JSON document nevertheless.
    Ndjson,
    /// Text: jq sees one string.
    Text,
    /// CSV with a header line: jq sees an array of objects, whose values are strings.
    Csv,
}

/// The request's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// A GET request.
    #[default]
    Get,
    /// A POST request, for providers whose reads are POST requests.
    Post,
}

/// The meaning of a device that is absent from a response that should contain it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The provider no longer knows it.
    #[default]
    Gone,
    /// The provider leaves out devices that it cannot reach.
    Offline,
    /// The provider leaves out devices that have no data.
    NoData,
}
