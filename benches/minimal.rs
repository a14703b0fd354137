//! The yardstick: members of a sorted set go due → leased → due, a hundred a script call, and nothing else happens.
//!
//! No lanes, ranks, quotas, fences or records; the members do not even travel to the worker and back. Whatever keeps a
//! schedule in a sorted set does at least this.

use crate::Failed;
use crate::redis_server::RedisServer;
use crate::rig::Fleet;
use paceline::redis::Redis;
use paceline::words::{ProviderName, UnixMs};
use redis::Script;

/// Members a script call.
pub const BATCH: usize = 100;

/// How many members one command adds while the set is filled.
const PAGE: usize = 1_000;

/// A minimal schedule of the same members with the same spread.
pub struct Minimal {
    redis: Redis,
    keys: [String; 2],
    interval_ms: u64,
    now_ms: i64,
    /// Time passes so much a batch, and a batch is due.
    step_ms: f64,
    passed_ms: f64,
    lease: Script,
    release: Script,
}

impl Minimal {
    /// All members of the fleet, each due at its grid's first point after `last_run`.
    pub async fn full(
        server: &RedisServer,
        name: &str,
        fleet: Fleet,
        last_run: UnixMs,
    ) -> Result<Self, Failed> {
        // Spread one by one, whatever shares a call.
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

    /// Takes and settles so many members: a multiple of the batch.
    pub async fn turn(&mut self, members: usize) -> Result<(), Failed> {
        for _ in 0..members / BATCH {
            self.passed_ms += self.step_ms;
            // A batch ahead, so that every batch is a full one: the spread is even, but not to the millisecond.
            let now = self.now_ms + (self.passed_ms + self.step_ms).ceil() as i64;
            let leased = self.run(&self.lease, now).await?;
            let released = self.run(&self.release, i64::try_from(self.interval_ms)?).await?;
            if (leased, released) != (BATCH, BATCH) {
                return Err(
                    format!("the yardstick moved {leased} and {released} members, not {BATCH}").into()
                );
            }
        }
        Ok(())
    }

    async fn run(&self, script: &Script, first: i64) -> Result<usize, Failed> {
        let mut call = script.key(&self.keys[0]);
        call.key(&self.keys[1]).arg(first).arg(BATCH);
        Ok(call.invoke_async(&mut self.redis.link()).await?)
    }
}
