//! The real scripts on a real Redis, under a prefix of their own.

use crate::scenario::name;
use paceline::provider::Provider;
use paceline::redis::{Keys, Redis, connect};
use paceline::schedule::{Entry, JobLocation, Queue, QuotaInputsUpdate};
use paceline::take::{Room, Settled, Settlement, Taken, Taker, TakerSettings};
use paceline::words::{JobId, UnixMs};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A change of a script: part of its name, what is replaced, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub script: &'static str,
    pub from: &'static str,
    pub to: &'static str,
}

pub struct Rig {
    redis: Redis,
    anchor: String,
    pub queue: Queue,
    pub taker: Taker,
}

/// Keys that no other run has.
pub fn own_keys() -> Keys {
    Keys::new(&format!("sim{}_{}:", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// What is stored of quotas, by holder and field.
pub type Fields = HashMap<(String, String), String>;

impl Rig {
    pub async fn new(provider: &Provider, settings: &TakerSettings, changes: &[Change]) -> Self {
        let redis = connect(&crate::server::url().into()).await.expect("this thread's Redis");
        let keys = settings.keys.clone();
        let spread = crate::scenario::interval(10_000);
        let taker = Taker::new(redis.clone(), provider, settings);
        let taker = taker.with_scripts(|script, text| {
            changes.iter().fold(text, |text, change| {
                if change.script != script {
                    return text;
                }
                assert!(text.contains(change.from), "{script} has no {:?} to be broken", change.from);
                text.replace(change.from, change.to)
            })
        });
        let anchor = keys.anchor(&name());
        Self { queue: Queue::new(redis.clone(), keys, spread), redis, anchor, taker }
    }

    pub async fn revive(&self, known: bool, fence: i64, now: i64) {
        self.queue.revive(&name(), known, fence, Some(UnixMs(now))).await.expect("revive");
    }

    pub async fn put(&self, entries: &[Entry], now: i64) {
        self.queue.put_at(&name(), entries, Some(UnixMs(now))).await.expect("put");
    }

    pub async fn put_quota_inputs(&self, updates: &[QuotaInputsUpdate], overwrite: bool, now: i64) {
        self.queue
            .put_quota_inputs(&name(), updates, overwrite, Some(UnixMs(now)))
            .await
            .expect("quota inputs");
    }

    pub async fn locate(&self, ids: &[JobId]) -> Vec<JobLocation> {
        self.queue.locate(&name(), ids).await.expect("locate")
    }

    pub async fn take(&self, calls: usize, now: i64) -> Taken {
        self.take_within(calls, None, now).await
    }

    /// Likewise, and of each connection no more than there is room for.
    pub async fn take_within(&self, calls: usize, room: Option<&Room>, now: i64) -> Taken {
        self.taker.take_within(calls, room, Some(UnixMs(now))).await.expect("take")
    }

    pub async fn settle(&self, settlements: &[Settlement], now: i64) -> Settled {
        self.taker.settle(settlements, Some(UnixMs(now))).await.expect("settle")
    }

    /// What is stored of the quotas of the app and of these connections.
    pub async fn fields(&self, connections: &[i64]) -> Fields {
        let mut found = Fields::new();
        let link = &mut self.redis.link();
        let holders = connections.iter().map(i64::to_string).chain(["app".to_owned()]);
        for holder in holders {
            let key = format!("{}quota:{holder}", self.anchor);
            let all: HashMap<String, String> =
                redis::cmd("HGETALL").arg(key).query_async(link).await.expect("a hash");
            let key = format!("{}quotas", self.anchor);
            let whole: Option<Vec<u8>> =
                redis::cmd("HGET").arg(key).arg(&holder).query_async(link).await.expect("bytes");
            let whole = whole.map(|packed| unpacked(&packed)).unwrap_or_default();
            found.extend(all.into_iter().chain(whole).map(|(field, raw)| ((holder.clone(), field), raw)));
        }
        found
    }

    /// When the jobs that wait for their time are looked at: their due instant, or a later one that their device has.
    pub async fn due(&self) -> HashMap<i64, f64> {
        let (mut found, mut keys) = (HashMap::new(), vec![format!("{}due", self.anchor)]);
        while let Some(key) = keys.pop() {
            let members: Vec<(String, f64)> = redis::cmd("ZRANGE")
                .arg(key)
                .arg(0)
                .arg(-1)
                .arg("WITHSCORES")
                .query_async(&mut self.redis.link())
                .await
                .expect("a sorted set");
            for (member, at) in members {
                match member.parse() {
                    Ok(id) => drop(found.insert(id, at)),
                    Err(_) => keys.push(format!("{}due:{member}", self.anchor)),
                }
            }
        }
        found
    }

    /// Deletes everything, as when Redis is lost.
    pub async fn wipe(&self) {
        let mut cursor = 0_u64;
        loop {
            let pattern = format!("{}*", self.anchor);
            let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(1_000)
                .query_async(&mut self.redis.link())
                .await
                .expect("a scan");
            if !keys.is_empty() {
                let _: i64 = redis::cmd("DEL")
                    .arg(keys)
                    .query_async(&mut self.redis.link())
                    .await
                    .expect("a deletion");
            }
            cursor = next;
            if cursor == 0 {
                return;
            }
        }
    }
}

/// What is stored of a connection as a whole: field, value, field, value …; a number is an instant, in ms. Returned in
/// µs, as the other hashes have it.
fn unpacked(packed: &[u8]) -> Vec<(String, String)> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Item {
        Instant(f64),
        Text(String),
    }
    let mut reader = rmp_serde::Deserializer::new(packed);
    let mut next = move || <Item as serde::Deserialize>::deserialize(&mut reader).ok();
    let pair = || match (next()?, next()?) {
        (Item::Text(field), Item::Instant(ms)) => Some((field, (ms * 1_000.0).to_string())),
        (Item::Text(field), Item::Text(raw)) => Some((field, raw)),
        (Item::Instant(_), _) => panic!("a number where a field should be"),
    };
    std::iter::from_fn(pair).collect()
}
