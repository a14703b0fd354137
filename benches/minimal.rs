//! The yardstick: members of a sorted set move due → leased → due, a hundred per script call, and nothing else.
//!
//! No lanes, ranks, quotas, fences or records; the members are not even sent to the worker and back. Any scheduler on a
//! sorted set does at least this.

use crate::Failed;
use crate::redis_server::RedisServer;
use crate::rig::Fleet;
use paceline::redis::Redis;
use paceline::words::{ProviderName, UnixMs};
use redis::Script;

/// Members per script call.
pub const BATCH: usize = 100;

/// Members per command while filling the set.
const PAGE: usize = 1_000;

/// A minimal schedule with the same members and the same spread of due times.
pub struct Minimal {
    redis: Redis,
    keys: [String; 2],
    interval_ms: u64,
    now_ms: i64,
    /// Time in which one batch comes due.
    step_ms: f64,
    passed_ms: f64,
    lease: Script,
    release: Script,
}

impl Minimal {
    /// A schedule of all members of the fleet, each due at its grid's first point after `last_run`.
    pub async fn full(
        server: &RedisServer,
        name: &str,
        fleet: Fleet,
        last_run: UnixMs,
    ) -> Result<Self, Failed> {
        // Due times are spread one by one, also where devices share a call.
        let fleet = Fleet { batch_max: 1, ..fleet };
        let interval_ms = fleet.interval.as_ms();
        let minimal = Self {
            redis: server.redis.clone(),
            keys: [format!("minimal:{name}:due"), format!("minimal:{name}:leased")],
            interval_ms,
            now_ms: last_run.0,
            step_ms: interval_ms as f64 * BATCH as f64 / fleet.jobs as f64,
            passed_ms: 0.0,
            lease: Script::new(include_str!("minimal_lease.lua")),
            release: Script::new(include_str!("minimal_release.lua")),
        };
        let (provider, interval): (ProviderName, i64) = (name.parse()?, i64::try_from(interval_ms)?);
        let numbers: Vec<usize> = (1..=fleet.jobs).collect();
        for page in numbers.chunks(PAGE) {
            let mut add = redis::cmd("ZADD");
            add.arg(&minimal.keys[0]);
            for number in page {
                let offset = i64::from(fleet.entry(*number, &provider, None)?.offset_ms);
                let due = ((last_run.0 - offset).div_euclid(interval) + 1) * interval + offset;
                add.arg(due).arg(number);
            }
            add.query_async::<i64>(&mut minimal.redis.link()).await?;
        }
        Ok(minimal)
    }

    /// Takes and settles `members` members, a multiple of the batch.
    pub async fn run(&mut self, members: usize) -> Result<(), Failed> {
        for _ in 0..members / BATCH {
            self.passed_ms += self.step_ms;
            // One batch ahead, so that every batch is full although the spread is not even to the millisecond.
            let now = self.now_ms + (self.passed_ms + self.step_ms).ceil() as i64;
            let leased = self.call(&self.lease, now).await?;
            let released = self.call(&self.release, i64::try_from(self.interval_ms)?).await?;
            if (leased, released) != (BATCH, BATCH) {
                return Err(
                    format!("the yardstick moved {leased} and {released} members, not {BATCH}").into()
                );
            }
        }
        Ok(())
    }

    async fn call(&self, script: &Script, first: i64) -> Result<usize, Failed> {
        let mut call = script.key(&self.keys[0]);
        call.key(&self.keys[1]).arg(first).arg(BATCH);
        Ok(call.invoke_async(&mut self.redis.link()).await?)
    }
}
