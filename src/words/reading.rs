//! Readings: values of a device at a time.

use super::{Interval, UnixMs};
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
    /// How old observations usually get before newer ones come, ms; none until one has come.
    pub pace_ms: Option<i64>,
    /// The age at which an observation is stale, ms, if the definition declares one.
    pub stale_after_ms: Option<i64>,
}

/// Intervals after which an observation is stale, beside its source's pace: a few may be missed.
const STALE_INTERVALS: i64 = 6;

impl Latest {
    /// How long ago the values were observed, or fetched where the source tells no time, ms; at least 0.
    pub fn age_ms(&self, now: UnixMs) -> i64 {
        now.since_ms(self.observed_at.unwrap_or(self.fetched_at)).max(0)
    }

    /// How long ago a good response last came, ms; at least 0.
    pub fn fetched_ago_ms(&self, now: UnixMs) -> i64 {
        now.since_ms(self.fetched_at).max(0)
    }

    /// Whether both ages are as they should be at this interval: the response's at most the interval and a grace, and
    /// the observation's, if its source tells a time, at most `stale_after_ms`, or six intervals and the source's pace.
    ///
    /// `watch/lag.rs` counts by the same rule.
    pub fn is_fresh(&self, interval: Interval, grace_ms: i64, now: UnixMs) -> bool {
        let interval_ms = interval.as_ms() as i64;
        let usual_ms = || STALE_INTERVALS * interval_ms + self.pace_ms.unwrap_or(0);
        let stale_after_ms = self.stale_after_ms.unwrap_or_else(usual_ms);
        let is_recent = self.observed_at.is_none_or(|at| now.since_ms(at) <= stale_after_ms);
        is_recent && self.fetched_ago_ms(now) <= interval_ms + grace_ms
    }
}
