//! By what the next call asks only for what is new.

use super::UnixMs;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an answer told of the state it was in. It vouches for the reading beside which it is kept: whoever has that
/// reading need not be told it again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Validator {
    /// What was asked and how the answer was read: to another question it says nothing.
    pub of: String,
    /// HTTP's entity tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// HTTP's time of the last modification, as it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// A change token: a text or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Value>,
    /// When all was last asked for, whether or not it was new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_at: Option<UnixMs>,
    /// The device's revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}
