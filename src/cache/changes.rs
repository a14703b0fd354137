//! Changes of a tenant's devices, for those who listen: kept in a capped stream, and told by its channel.

use super::store::{Cache, GONE, META};
use crate::redis::RedisError;
use crate::words::{DeviceId, TenantId, UnixMs};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long a stream is kept though nobody listens, so that readers who come back miss nothing.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// Which change: grows with each of a tenant's. Ids of one tenant say nothing of another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeId {
    ms: u64,
    sequence: u64,
}

/// What changed. It is not told to what: that is read when it is needed, and then new.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Changed {
    /// The reading of a resource.
    Reading(String),
    /// The device itself, or what is asked of it.
    Device,
    /// It is gone.
    Gone,
}

/// A change of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its id.
    pub id: ChangeId,
    /// The device.
    pub device: DeviceId,
    /// What of it.
    pub changed: Changed,
}

/// Changes after an id.
#[derive(Debug)]
pub struct Changes {
    /// The newest change there is.
    pub newest: ChangeId,
    /// Those asked for, in order; none if they are not all there any more, or too many.
    pub after: Option<Vec<Change>>,
}

impl ChangeId {
    /// Before all.
    pub const NONE: Self = Self { ms: 0, sequence: 0 };

    /// Before all changes of this instant, and after those of earlier ones.
    pub fn before(at: UnixMs) -> Self {
        Self { ms: at.0.saturating_sub(1).max(0).unsigned_abs(), sequence: u64::MAX }
    }

    /// When the change was, by Redis's clock.
    pub fn at(self) -> UnixMs {
        UnixMs(i64::try_from(self.ms).unwrap_or(i64::MAX))
    }
}

impl Cache {
    /// The channel on which a tenant's changes are told, as texts that [`Change::parse`] reads.
    pub fn channel(&self, tenant: TenantId) -> String {
        self.keys.changes(tenant)
    }

    /// Keeps a tenant's changes for the next ten minutes, and reads those after an id: at most `max`.
    pub async fn changes(
        &self,
        tenant: TenantId,
        after: Option<ChangeId>,
        max: usize,
    ) -> Result<Changes, RedisError> {
        self.read_changes(tenant, after, max, false).await
    }

    /// Likewise; if there are more, the first of them.
    pub async fn first_changes(
        &self,
        tenant: TenantId,
        after: ChangeId,
        max: usize,
    ) -> Result<Changes, RedisError> {
        self.read_changes(tenant, Some(after), max, true).await
    }

    /// The oldest change that a tenant's stream has; none if there is no stream.
    pub async fn oldest_change(&self, tenant: TenantId) -> Result<Option<ChangeId>, RedisError> {
        let mut call = redis::cmd("XRANGE");
        call.arg(self.keys.changes(tenant)).arg("-").arg("+").arg("COUNT").arg(1);
        let entries: Vec<(String, Vec<String>)> = call
            .query_async(&mut self.redis.link())
            .await
            .map_err(|source| RedisError::Failed { what: "read the oldest change", source })?;
        Ok(entries.first().and_then(|(id, _)| id.parse().ok()))
    }

    async fn read_changes(
        &self,
        tenant: TenantId,
        after: Option<ChangeId>,
        max: usize,
        first: bool,
    ) -> Result<Changes, RedisError> {
        let failed = |source| RedisError::Failed { what: "read the changes", source };
        let mut call = self.scripts.listen.key(self.keys.changes(tenant));
        call.arg(KEPT_FOR.as_secs()).arg(after.map(|id| id.to_string()).unwrap_or_default()).arg(max);
        call.arg(u8::from(first));
        type Entry = (String, Vec<String>);
        let (newest, all_there, entries): (String, bool, Vec<Entry>) =
            call.invoke_async(&mut self.redis.link()).await.map_err(failed)?;
        let changes = entries.iter().filter_map(|(id, fields)| match fields.as_slice() {
            [_, device, _, field] => Change::parse(&format!("{id} {device} {field}")),
            _ => None, // the stream's first
        });
        // Redis makes the ids.
        let newest = newest.parse().unwrap_or(ChangeId::NONE);
        Ok(Changes { newest, after: all_there.then(|| changes.collect()) })
    }
}

impl Change {
    /// Reads a message of the channel: `<id> <device> <field>`.
    pub fn parse(message: &str) -> Option<Self> {
        let mut words = message.splitn(3, ' ');
        let (id, device) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let changed = match words.next()? {
            META => Changed::Device,
            GONE => Changed::Gone,
            resource => Changed::Reading(resource.to_owned()),
        };
        Some(Self { id, device, changed })
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.sequence)
    }
}

/// Not the id of a change.
#[derive(Debug, thiserror::Error)]
#[error("an id is two numbers, as in 1760000000000-0")]
pub struct NoChangeId;

impl FromStr for ChangeId {
    type Err = NoChangeId;
    fn from_str(text: &str) -> Result<Self, NoChangeId> {
        let (ms, sequence) = text.split_once('-').ok_or(NoChangeId)?;
        let number = |text: &str| text.parse().map_err(|_| NoChangeId);
        Ok(Self { ms: number(ms)?, sequence: number(sequence)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Ended;

    #[test]
    fn messages_and_ids_are_read_as_they_are_written() {
        let change = Change::parse("1760000000000-3 17 state").unwrap();
        assert_eq!((change.id.to_string().as_str(), change.device), ("1760000000000-3", DeviceId(17)));
        assert_eq!(change.changed, Changed::Reading("state".to_owned()));
        assert_eq!(Change::parse("1-0 17 _").unwrap().changed, Changed::Device);
        assert_eq!(Change::parse("1-0 17 -").unwrap().changed, Changed::Gone);
        assert_eq!(Change::parse(&Ended { device: DeviceId(17) }.to_string()), None);
        for bad in ["", "1-0", "1-0 17", "1 17 state", "x-0 17 state", "1-0 x state"] {
            assert_eq!(Change::parse(bad), None, "{bad}");
        }
        let ids: Vec<ChangeId> = ["9-9", "10-0", "10-2"].iter().map(|id| id.parse().unwrap()).collect();
        assert!(ids.is_sorted());
    }
}
