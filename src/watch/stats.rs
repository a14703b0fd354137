//! Stats per minute in Redis: outcomes, and a histogram of lag. All processes add to the same.

use crate::redis::{Keys, Redis, RedisError};
use crate::words::{ProviderName, UnixMs};
use std::collections::BTreeMap;

/// Stats expire after this.
const KEEP_S: i64 = 2 * 60 * 60;
/// Buckets per doubling of lag: each is 9 % wide, which is the error of a percentile.
const PER_OCTAVE: f64 = 8.0;

/// Counts to add, or a sum of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Outcome's word → jobs that ended so.
    pub outcomes: BTreeMap<String, u64>,
    /// Calls sent.
    pub calls: u64,
    /// Reason → calls that were granted, and handed back unsent for it.
    pub handed_back: BTreeMap<String, u64>,
    /// Values that were left out of records.
    pub rejected: u64,
    /// Lag bucket → jobs.
    lag: BTreeMap<u32, u64>,
}

impl Stats {
    /// Counts a job's outcome.
    pub fn outcome(&mut self, word: &str) {
        *self.outcomes.entry(word.to_owned()).or_default() += 1;
    }

    /// Counts a call that was handed back. What follows a colon in the reason is left out: it may be anything.
    pub fn hand_back(&mut self, reason: &str) {
        let reason = reason.split(':').next().unwrap_or_default().trim();
        *self.handed_back.entry(reason.to_owned()).or_default() += 1;
    }

    /// Counts how late a job was sent.
    pub fn lag(&mut self, lag_ms: i64) {
        let bucket = ((lag_ms.max(0) as f64 + 1.0).log2() * PER_OCTAVE).round() as u32;
        *self.lag.entry(bucket).or_default() += 1;
    }

    /// The lag that this share (0 to 1) of the jobs did not exceed, ms; none if nothing was sent.
    pub fn lag_ms(&self, share: f64) -> Option<f64> {
        let total: u64 = self.lag.values().sum();
        let mut left = (total as f64 * share).ceil().max(1.0) as u64;
        for (bucket, count) in &self.lag {
            if *count >= left {
                let ms = (f64::from(*bucket) / PER_OCTAVE).exp2() - 1.0;
                return Some((ms * 10.0).round() / 10.0);
            }
            left -= count;
        }
        None
    }

    /// How many jobs were sent.
    pub fn sent(&self) -> u64 {
        self.lag.values().sum()
    }

    /// How many jobs had this outcome.
    pub fn ended(&self, word: &str) -> u64 {
        self.outcomes.get(word).copied().unwrap_or(0)
    }

    fn merge_field(&mut self, field: &str, count: u64) {
        match field.split_once(':') {
            Some(("lag", bucket)) => *self.lag.entry(bucket.parse().unwrap_or(0)).or_default() += count,
            Some(("back", reason)) => *self.handed_back.entry(reason.to_owned()).or_default() += count,
            Some(("out", word)) => *self.outcomes.entry(word.to_owned()).or_default() += count,
            _ if field == "rejected" => self.rejected += count,
            _ => self.calls += count,
        }
    }

    /// The sum of the last `minutes`, including the current one.
    pub async fn read(
        redis: &Redis,
        keys: &Keys,
        provider: &ProviderName,
        now: UnixMs,
        minutes: i64,
    ) -> Result<Self, RedisError> {
        let mut pipe = redis::pipe();
        let this = now.0 / 60_000;
        for minute in this - minutes + 1..=this {
            pipe.hgetall(keys.stats(provider, minute));
        }
        let all: Vec<BTreeMap<String, u64>> = pipe
            .query_async(&mut redis.link())
            .await
            .map_err(|source| RedisError::Failed { what: "read the stats", source })?;
        let mut sum = Self::default();
        for (field, count) in all.into_iter().flatten() {
            sum.merge_field(&field, count);
        }
        Ok(sum)
    }
}

/// Adds to the current minute.
pub async fn add(
    redis: &Redis,
    keys: &Keys,
    provider: &ProviderName,
    now: UnixMs,
    stats: &Stats,
) -> Result<(), RedisError> {
    let key = keys.stats(provider, now.0 / 60_000);
    let mut pipe = redis::pipe();
    for (bucket, count) in &stats.lag {
        pipe.hincr(&key, format!("lag:{bucket}"), *count).ignore();
    }
    for (word, count) in &stats.outcomes {
        pipe.hincr(&key, format!("out:{word}"), *count).ignore();
    }
    for (reason, count) in &stats.handed_back {
        pipe.hincr(&key, format!("back:{reason}"), *count).ignore();
    }
    pipe.hincr(&key, "calls", stats.calls).ignore();
    if stats.rejected > 0 {
        pipe.hincr(&key, "rejected", stats.rejected).ignore();
    }
    pipe.expire(&key, KEEP_S).ignore();
    pipe.query_async::<()>(&mut redis.link())
        .await
        .map_err(|source| RedisError::Failed { what: "add to the stats", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_bucket() {
        let mut stats = Stats::default();
        for ms in 1..=1000 {
            stats.lag(ms);
        }
        for (share, ms) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = stats.lag_ms(share).unwrap();
            assert!((found / ms - 1.0).abs() < 0.1, "{share}: {found}");
        }
        assert_eq!(Stats::default().lag_ms(0.5), None);
        assert_eq!(stats.sent(), 1000);
    }
}
