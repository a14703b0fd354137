//! The one place of the simulated cloud that asks what time it is.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch. Never goes back: the sliding logs rely on it.
///
/// Microseconds, because a referee that counts in milliseconds forgives up to one per window.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The wall clock as it was at the start, carried on by the monotonic one: a step of the wall clock (NTP,
/// suspend) would otherwise let a window forget, or remember for too long.
#[expect(clippy::disallowed_methods, reason = "the one place of the cloud that asks the machine")]
pub fn steady_clock() -> Clock {
    let started = Instant::now();
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Arc::new(move || (epoch + started.elapsed()).as_micros() as i64)
}
