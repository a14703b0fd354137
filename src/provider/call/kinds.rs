//! What kinds of requests and answers there are.

use schemars::JsonSchema;
use serde::Deserialize;

/// How many devices one call serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// One.
    #[default]
    Device,
    /// Those whose ids it names, up to `batch_max`.
    Batch,
    /// All of a group.
    Group,
    /// All of a connection.
    Connection,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON text.
    #[default]
    Json,
    /// A JSON text a line: jq sees an array of them. An error's answer is one JSON text nevertheless.
    Ndjson,
}

/// The request's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Reads.
    #[default]
    Get,
    /// Reads too, at clouds that ask by posting.
    Post,
}

/// What a device means that is absent from an answer that should hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// The provider does not know it any more.
    #[default]
    Gone,
    /// The provider leaves out what it cannot reach.
    Offline,
}
