//! Readings: values of a device at a time.

use super::UnixMs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// One mapped record of a response, not yet assigned to a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The provider's id of the device; none if the call was for a single device.
    pub external_id: Option<String>,
    /// When the device or provider observed the values, by its clock; none if not reported.
    pub observed_at: Option<UnixMs>,
    /// Whether the provider reports the device as reachable.
    pub online: bool,
    /// Values by name.
    pub values: Map<String, Value>,
}

impl Record {
    /// Whether it has no value at all. Such a record is no reading and must not replace the last one.
    pub fn has_no_values(&self) -> bool {
        self.values.values().all(Value::is_null)
    }

    /// SHA-256 over everything a reader can see: values, observation time and `online`.
    ///
    /// `serde_json` maps are ordered by key, so equal content gives equal bytes.
    pub fn content_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.observed_at.map_or(i64::MIN, |at| at.0).to_le_bytes());
        hash.update([u8::from(self.online)]);
        // A JSON map always serialises: its keys are strings and its numbers finite.
        hash.update(serde_json::to_vec(&self.values).unwrap_or_default());
        hash.finalize().into()
    }
}

/// The last good value of one resource of one device, as the cache holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latest {
    /// Values by name.
    pub values: Map<String, Value>,
    /// When the device or provider observed the values, by its clock; none if not reported.
    pub observed_at: Option<UnixMs>,
    /// When a good response last came, by our clock.
    pub fetched_at: UnixMs,
    /// When the content last changed, by our clock.
    pub changed_at: UnixMs,
    /// Whether the provider reports the device as reachable.
    pub online: bool,
}
