//! How long the history is kept.

use crate::words::Interval;
use serde::Deserialize;

section!(
    /// `[history]`
    History {
        /// Older readings and events are dropped.
        keep_days: u64,
        /// Older roll-ups by 5 minutes are dropped.
        keep_days_5m: u64,
        /// Older roll-ups by the hour are dropped.
        keep_days_1h: u64,
        /// Older roll-ups by the day are dropped.
        keep_days_1day: u64,
        /// How long after it was fetched a reading may land and is still rolled up.
        late: Interval,
    }
);
