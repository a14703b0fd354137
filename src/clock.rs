//! The time, passed in. Every process follows the Redis server's clock, so that no machine's wall clock matters.

use crate::words::UnixMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Tells the time. Clones share what was learned.
///
/// Between two observations it counts by the monotonic clock, so that setting the wall clock during a call changes
/// nothing. The monotonic clock stops while a machine is suspended, so the shared clock must be observed regularly.
#[derive(Debug, Clone)]
pub struct Clock {
    began: Instant,
    /// What the shared clock showed at `began`, ms since the epoch.
    began_ms: Arc<AtomicI64>,
}

impl Default for Clock {
    /// By this machine's wall clock, until the shared clock is observed.
    fn default() -> Self {
        Self { began: Instant::now(), began_ms: Arc::new(machine_ms().into()) }
    }
}

impl Clock {
    /// Now, by the shared clock as far as it is known.
    pub fn now(&self) -> UnixMs {
        UnixMs(self.began_ms.load(Ordering::Relaxed).saturating_add(self.since_ms()))
    }

    /// Sets it to what the shared clock shows.
    pub fn learn(&self, shared: UnixMs) {
        self.began_ms.store(shared.0.saturating_sub(self.since_ms()), Ordering::Relaxed);
    }

    fn since_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
fn machine_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_what_one_learned() {
        let clock = Clock::default();
        let other = clock.clone();
        for shared in [2_000_000_000_000, 1_000_000_000_000] {
            clock.learn(UnixMs(shared));
            let ahead_ms = other.now().0 - shared;
            assert!((0..60_000).contains(&ahead_ms), "{ahead_ms}");
        }
    }
}
