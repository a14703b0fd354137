//! Validators, which make the next request conditional.

use super::UnixMs;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Identifies the state in which a response left the device. Stored with the reading that it belongs to: a process that
/// has this reading can ask for changes only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Validator {
    /// Fingerprint of the request and its mapping. The validator is void for any other.
    pub of: String,
    /// HTTP entity tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// HTTP `Last-Modified`, verbatim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// A change token: a string or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Value>,
    /// When the last unconditional request was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_at: Option<UnixMs>,
    /// The device's revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}
