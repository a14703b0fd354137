//! Where in its interval a job's grid has its point.

use crate::provider::Unit;
use crate::redis::agreed::GOLDEN;
use crate::words::Job;

/// The offset of a job's grid into each interval since the epoch, ms: at least 0, less than the interval.
///
/// Jobs whose calls serve one device each are spread evenly over the interval: consecutive ids, as an import makes
/// them, land apart. Jobs that may share a call share one instant, taken modulo their intervals: then the grid of 30 s
/// lies on that of 10 s, and one call finds both due.
pub fn offset_ms(job: &Job, unit: Unit, batch_max: u32) -> u32 {
    let interval_ms = job.interval.as_ms();
    let offset = match unit {
        Unit::Device => (interval_ms * u64::from(spread(job.id.0))) >> 32,
        Unit::Batch => u64::from(spread(job.device.0 / i64::from(batch_max.max(1)))) % interval_ms,
        Unit::Group | Unit::Connection => {
            let lane = job.lane().bytes().fold(0_i64, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
            u64::from(spread(lane)) % interval_ms
        }
    };
    // Below the interval, which fits.
    u32::try_from(offset).unwrap_or(0)
}

/// Truncation is meant: arithmetic modulo 2^32.
fn spread(seed: i64) -> u32 {
    (seed as u32).wrapping_mul(GOLDEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{ConnectionId, DeviceId, JobId, JobState, Priority, TenantId};

    fn job(id: i64, interval: &str) -> Job {
        Job {
            id: JobId(id),
            tenant: TenantId(1),
            provider: "p".parse().unwrap(),
            connection: ConnectionId(7),
            device: DeviceId(id),
            group: String::new(),
            resource: "state".parse().unwrap(),
            interval: interval.parse().unwrap(),
            priority: Priority::Normal,
            state: JobState::Active,
            version: 1,
        }
    }

    #[test]
    fn ten_thousand_devices_added_together_are_spread_evenly() {
        let mut per_tenth = [0; 10];
        for id in 1..=10_000 {
            per_tenth[offset_ms(&job(id, "10s"), Unit::Device, 1) as usize / 1_000] += 1;
        }
        assert!(per_tenth.iter().all(|count| (990..=1_010).contains(count)), "{per_tenth:?}");
    }

    #[test]
    fn jobs_that_may_share_a_call_meet_whatever_their_intervals() {
        for unit in [Unit::Batch, Unit::Connection] {
            let short = offset_ms(&job(40, "10s"), unit, 20);
            let long = offset_ms(&job(59, "1m"), unit, 20);
            assert_eq!(long % 10_000, short, "{unit:?}");
        }
    }
}
