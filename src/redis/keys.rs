//! Every key Paceline writes, built here and nowhere else (the schedule's scripts build the rest from their anchor).
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{p}:due` | zset | job → when it is due, ms |
//! | `{p}:jobs:<n>` | hash | 64 packed job records a bucket |
//! | `{p}:ready:<lane>:<resource>` | zset | job → class · 2^43 + last run, ms; exists only while non-empty |
//! | `{p}:lanes` | zset | lane with ready jobs → virtual time |
//! | `{p}:blocked` | zset | lane → instant it can be served, ms |
//! | `{p}:partly` | set | blocked lanes of which only some resources are |
//! | `{p}:vtime` | hash | lane → virtual time at which it left |
//! | `{p}:leases` | zset | call → lease expiry, ms |
//! | `{p}:calls` | hash | call → its jobs, lane and what it spent (msgpack) |
//! | `{p}:quota:app`, `{p}:quota:<connection>` | hash | quota → theoretical arrival time, ms; hold → until, reason |
//! | `{p}:meta` | hash | `v` virtual time, `fence` last call, `run` of the server, `epoch` of revival, `built` when |
//! | `{p}:wake` | channel | "look again" |
//! | `{p}:stats:<minute>` | hash | lag histogram and outcome counts of that minute |
//! | `{t}:d:<device>` | hash | `_` → the device itself, resource → latest; each `<version> <json>` |

use crate::words::{DeviceId, ProviderName, TenantId};

/// Builds key names under a prefix, so that deployments and tests can share a server.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// Keys that begin with `prefix` (which must not hold braces: they are the hash tag's).
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.replace(['{', '}'], "") }
    }

    /// `{p}:`, from which the schedule's scripts build their names; it also routes them on a cluster.
    pub fn anchor(&self, provider: &ProviderName) -> String {
        format!("{}{{{provider}}}:", self.prefix)
    }

    /// Where workers are told to look again.
    pub fn wake(&self, provider: &ProviderName) -> String {
        self.anchor(provider) + "wake"
    }

    /// The schedule's counters.
    pub fn meta(&self, provider: &ProviderName) -> String {
        self.anchor(provider) + "meta"
    }

    /// One minute's figures; minutes since the epoch.
    pub fn stats(&self, provider: &ProviderName, minute: i64) -> String {
        format!("{}stats:{minute}", self.anchor(provider))
    }

    /// A device in the cache.
    pub fn device(&self, tenant: TenantId, device: DeviceId) -> String {
        format!("{}{{t{tenant}}}:d:{device}", self.prefix)
    }
}
