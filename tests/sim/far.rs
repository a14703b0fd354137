//! Workers far from the servers: what their grants need, and what all scripts must agree on because of it.

use crate::chance::Chance;
use crate::limits::{Fault, Limits};
use paceline::provider::{Limit, Quota};
use paceline::take::Distance;

/// How long what a worker needs is kept after it was last heard of, ms.
const LATE_KEPT_MS: i64 = 3_600_000;
const REACH_KEPT_MS: i64 = 10_000;
/// The most that a worker needs, ms.
pub const LATE_MAX_MS: u64 = 400;
const LEAD_MAX_MS: u64 = 40;
pub const REACH_MAX_MS: u64 = 2 * LEAD_MAX_MS;

/// What a worker needs in one of its lives.
pub fn distance(limits: &Limits, worker: usize, life: u32) -> Distance {
    if !limits.has(Fault::Far) || !Chance::new(limits.seed, 3_000).hits(0.4) {
        return Distance::default();
    }
    let mut chance = Chance::new(limits.seed, 3_001 + 1_000 * worker as u64 + u64::from(life));
    let lead_ms = chance.pick(&[0, 0, 20, LEAD_MAX_MS]);
    Distance { lead_ms, late_ms: chance.pick(&[0, 0, 30, 150, LATE_MAX_MS]), reach_ms: 2 * lead_ms }
}

/// Likewise of all workers together, as `take/lua/run.lua` keeps it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Far {
    pub late_ms: u64,
    pub reach_ms: u64,
    /// Until when all that a burst could spend counts as spent, because windows became longer.
    pub spent_until: f64,
    late_until: i64,
    reach_until: i64,
}

impl Far {
    /// A script runs for a worker. `horizon_ms`: of those that are near.
    pub fn note(&mut self, now: i64, own: Distance, horizon_ms: u64) {
        if self.late_until <= now {
            (self.late_ms, self.spent_until) = (0, 0.0);
        }
        if self.reach_until <= now {
            self.reach_ms = 0;
        }
        let extends = |needed: u64, kept: u64, until: i64, length: i64| {
            needed > kept || needed > 0 && needed == kept && until < now + length / 2
        };
        if extends(own.reach_ms, self.reach_ms, self.reach_until, REACH_KEPT_MS) {
            (self.reach_ms, self.reach_until) = (own.reach_ms, now + REACH_KEPT_MS);
        }
        if extends(own.late_ms, self.late_ms, self.late_until, LATE_KEPT_MS) {
            if own.late_ms > self.late_ms {
                self.spent_until = (now + horizon_ms as i64 + self.reach_ms as i64) as f64;
            }
            (self.late_ms, self.late_until) = (own.late_ms, now + LATE_KEPT_MS);
        }
    }

    /// A quota's limit for calls that may be so late.
    pub fn stretched(&self, quota: &Quota, limit: Limit) -> Limit {
        let late_ms = self.late_ms as f64;
        match limit {
            Limit::Sliding { emission_ms, burst } => {
                let span_ms = quota.span_ms();
                Limit::Sliding { emission_ms: emission_ms * (span_ms + late_ms) / span_ms, burst }
            }
            Limit::Aligned { amount, burst, margin_ms, calendar, zone } => {
                Limit::Aligned { amount, burst, margin_ms: margin_ms + late_ms, calendar, zone }
            }
            other => other,
        }
    }
}
