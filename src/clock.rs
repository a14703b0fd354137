//! The time, handed in. Every process's clock is the Redis server's, so that nobody's wall clock matters.

use crate::words::UnixMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time. Clones tell the same.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// What the shared clock is ahead of this machine's, ms.
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// Now, by the shared clock as far as it is known.
    pub fn now(&self) -> UnixMs {
        UnixMs(machine_ms().saturating_add(self.offset_ms.load(Ordering::Relaxed)))
    }

    /// Learns what the shared clock shows.
    pub fn learn(&self, shared: UnixMs) {
        self.offset_ms.store(shared.0.saturating_sub(machine_ms()), Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
fn machine_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
