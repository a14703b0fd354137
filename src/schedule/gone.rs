//! What the schedule keeps of connections that are gone.

use super::Queue;
use super::queue::now_arg;
use crate::redis::RedisError;
use crate::words::{ConnectionId, ProviderName, UnixMs};
use std::collections::{BTreeMap, BTreeSet};

/// The keys that hold something by connection or lane.
const SHARED: [&str; 5] = ["quotas", "quota_inputs", "homes", "vtime", "weights"];
/// Connections that were gone at an earlier look.
const MARKED: &str = "gone";
/// The keys of single connections. Finding them takes a look at every key of the server.
const OWN: &str = "quota";
/// The most connections in one script call.
const BATCH: usize = 200;

/// The connections that the schedule keeps something of, each with its lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holders {
    /// By connection.
    pub lanes: BTreeMap<ConnectionId, BTreeSet<String>>,
    /// Those that were gone at an earlier look.
    pub marked: BTreeSet<ConnectionId>,
}

impl Queue {
    /// The connections that the schedule keeps something of. `own_keys`: also those of which only groups or devices
    /// have limits, which takes a look at every key of the server.
    pub async fn holders(&self, provider: &ProviderName, own_keys: bool) -> Result<Holders, RedisError> {
        let mut found = Holders::default();
        for place in SHARED.into_iter().chain(own_keys.then_some(OWN)) {
            for holder in self.listed(provider, place).await? {
                if let Some(connection) = connection_of(&holder) {
                    found.lanes.entry(connection).or_default().insert(holder);
                }
            }
        }
        for holder in self.listed(provider, MARKED).await? {
            found.marked.extend(connection_of(&holder));
        }
        Ok(found)
    }

    /// Deletes what is kept of connections that have been gone for `keep_ms`, and marks the others. `back`: those that
    /// were marked and are there again. Returns how many were deleted.
    pub async fn forget_gone(
        &self,
        provider: &ProviderName,
        gone: &BTreeMap<ConnectionId, BTreeSet<String>>,
        back: &[ConnectionId],
        keep_ms: i64,
        now: Option<UnixMs>,
    ) -> Result<u64, RedisError> {
        let (anchor, script) = (self.keys.anchor(provider), &self.scripts.forget);
        let (now, keep_ms) = (now_arg(now), keep_ms.to_string());
        let back = script.pack(&back.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let row = |(connection, lanes): (&ConnectionId, &BTreeSet<String>)| {
            std::iter::once(connection.to_string()).chain(lanes.iter().cloned()).collect::<Vec<_>>()
        };
        let rows: Vec<_> = gone.iter().map(row).collect();
        // At least one run: `back` must be applied even if no connection is gone.
        let batches = rows.chunks(BATCH).chain(rows.is_empty().then_some(&[][..]));
        let mut deleted = 0;
        for batch in batches {
            let packed = script.pack(&batch)?;
            let args = [now.as_bytes(), keep_ms.as_bytes(), &packed, &back];
            deleted += script.run::<u64>(&self.redis, &anchor, &args).await?;
        }
        Ok(deleted)
    }

    async fn listed(&self, provider: &ProviderName, place: &str) -> Result<Vec<String>, RedisError> {
        let (anchor, script) = (self.keys.anchor(provider), &self.scripts.holders);
        let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let args = [place.as_bytes(), cursor.as_bytes()];
            let (next, page): (String, Vec<String>) = script.ask(&self.redis, &anchor, &args).await?;
            found.extend(page);
            if next == "0" {
                return Ok(found);
            }
            cursor = next;
        }
    }
}

/// A lane is a connection, or a group inside one.
fn connection_of(holder: &str) -> Option<ConnectionId> {
    holder.split('.').next()?.parse().ok()
}
