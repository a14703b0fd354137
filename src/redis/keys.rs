//! Every key Paceline writes, built here and nowhere else (the schedule's scripts build the rest from their anchor).
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{p}:due` | zset | job, or a queue `<resource>:<lane>` → when it, or its first, is due, ms |
//! | `{p}:due:<resource>:<lane>` | zset | jobs that can share a call → when each is due, ms |
//! | `{p}:jobs:<n>` | hash | packed job records; which are together: see `bucket` in `lua/record.lua` |
//! | `{p}:ready:<class>:<resource>:<lane>` | zset | job → last run, ms; exists only while non-empty |
//! | `{p}:lanes` | zset | lane with ready jobs → virtual time; far below 0 with a "refresh now" |
//! | `{p}:blocked` | zset | lane, or a link `!<holder> <field>` → instant it opens, ms; `inf`: its link lets it in |
//! | `{p}:wait:!<holder> <field>` | zset | waitlist: lanes that wait at a shared link → their virtual time there |
//! | `{p}:left:!<holder> <field>` | hash | lane that left the waitlist → its virtual time there |
//! | `{p}:links` | hash | link → its virtual time |
//! | `{p}:partly` | set | blocked lanes of which only some resources are |
//! | `{p}:hot` | set | blocked lanes with a "refresh now" |
//! | `{p}:why` | hash | blocked lane, or `#<job>` → the quota or hold that does not allow a call |
//! | `{p}:vtime` | hash | lane → virtual time at which it left |
//! | `{p}:homes` | set | connections some of whose lanes are groups, so that several share its quotas |
//! | `{p}:weights` | hash | lane → its weight, where it is not 1 |
//! | `{p}:leases` | zset | lease → expiry, ms |
//! | `{p}:take:<lease>` | hash | up to 32 calls: place → lane, resource, jobs and what was spent (msgpack) |
//! | `{p}:changed_while_leased` | set | leased jobs whose owners changed them meanwhile |
//! | `{p}:corrupt` | hash | jobs set aside because their records cannot be read → why |
//! | `{p}:quotas` | hash | connection → its quotas' states and its hold (msgpack, see `take/lua/quota/state.lua`) |
//! | `{p}:quota:app`, `{p}:quota:<connection>` | hash | likewise one field each: of the app; of groups and devices |
//! | `{p}:holds` | zset | `<holder> <field>` of a hold → when it is forgotten, ms; pruned when one is written |
//! | `{p}:quota_inputs` | hash | connection → its devices, since when, read when, its plan; if quotas depend on it |
//! | `{p}:gone` | zset | connection that Postgres no longer has → when that was first seen, ms |
//! | `{p}:failing:<outcome>` | zset | connection whose last call came to this → when, ms |
//! | `{p}:called:<n>` | HyperLogLog | connections that were called in the nth window since the epoch; expires |
//! | `{p}:refreshes` | hash | quota → what "refresh now" spent of its share, fading, and when; expires |
//! | `{p}:refreshes:<tenant>` | hash | likewise of one tenant; `tat` → when its refreshes are all forgotten, ms |
//! | `{p}:refreshes:#<job>` | text | it was refreshed just now; expires |
//! | `{p}:meta` | hash | virtual times `v finish`; `fence run epoch built app_… places incident… probe_…` |
//! | `{p}:wake` | channel | wake-ups: there is something to take |
//! | `{p}:stats:<minute>` | hash | lag histogram and outcome counts of that minute |
//! | `check` | text | the process whose turn it is to check all schedules; expires |
//! | `webhooks` | text | the process whose turn it is to look for webhooks that are due; expires |
//! | `{t}:d:<device>` | hash | `_` → the device itself, resource → latest; each `<version> <json>` |
//! | `{t}:changes` | stream | the last changes: `d` device, `f` resource, `_` or `-`; while somebody listens |
//! | `{t}:changes` | channel | the same as they come: `<id> <device> <field>`; `! <device>`: a call has ended |
//! | `{t}:awaited` | text | somebody waits for the end of a refresh; expires |

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

    /// The channel that wakes workers up.
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

    /// Whose turn it is to check all schedules.
    pub fn check(&self) -> String {
        format!("{}check", self.prefix)
    }

    /// Whose turn it is to look for webhooks that are due.
    pub fn webhooks(&self) -> String {
        format!("{}webhooks", self.prefix)
    }

    /// A device in the cache.
    pub fn device(&self, tenant: TenantId, device: DeviceId) -> String {
        format!("{}{{t{tenant}}}:d:{device}", self.prefix)
    }

    /// The stream and the channel of a tenant's changes.
    pub fn changes(&self, tenant: TenantId) -> String {
        format!("{}{{t{tenant}}}:changes", self.prefix)
    }

    /// Whether somebody waits for the end of a refresh of the tenant's.
    pub fn awaited(&self, tenant: TenantId) -> String {
        format!("{}{{t{tenant}}}:awaited", self.prefix)
    }
}
