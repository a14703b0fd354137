//! The only place in the simulated cloud that reads the system time.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the Unix epoch. It never goes back: the sliding logs rely on it.
///
/// In milliseconds the referee would miss violations of less than one millisecond per window.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The wall clock at the start, advanced by the monotonic clock. A step of the wall clock (NTP, suspend) would make
/// windows end too early or too late.
#[expect(clippy::disallowed_methods, reason = "the only place in the cloud that reads the system time")]
pub fn steady_clock() -> Clock {
    let started = Instant::now();
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Arc::new(move || (epoch + started.elapsed()).as_micros() as i64)
}
