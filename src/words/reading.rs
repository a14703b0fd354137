//! What a device said.

use super::UnixMs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// One record of a provider's answer, mapped: not yet anybody's reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The provider's id of the device; absent where the call was for one device alone.
    pub external_id: Option<String>,
    /// The source's clock, where it tells.
    pub observed_at: Option<UnixMs>,
    /// Whether the provider says that it can reach the device.
    pub online: bool,
    /// Name → value.
    pub values: Map<String, Value>,
}

impl Record {
    /// Whether it tells no value at all: such a record is no reading, and takes nobody's last one away.
    pub fn is_silent(&self) -> bool {
        self.values.values().all(Value::is_null)
    }

    /// SHA-256 over all that a reader would see differ: values, observation time and `online`.
    ///
    /// `serde_json`'s maps are ordered by key, so equal content has equal bytes.
    pub fn content_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.observed_at.map_or(i64::MIN, |at| at.0).to_le_bytes());
        hash.update([u8::from(self.online)]);
        // A map of JSON values always serialises: its keys are strings and its numbers finite.
        hash.update(serde_json::to_vec(&self.values).unwrap_or_default());
        hash.finalize().into()
    }
}

/// The last good value of one resource of one device, as the cache holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latest {
    /// Name → value.
    pub values: Map<String, Value>,
    /// The source's clock, where it tells.
    pub observed_at: Option<UnixMs>,
    /// Ours: when a good answer last came.
    pub fetched_at: UnixMs,
    /// Ours: when the content last differed.
    pub changed_at: UnixMs,
    /// Whether the provider says that it can reach the device.
    pub online: bool,
}
