//! Intervals by time of day, as a job has them.

use crate::words::{Interval, Timetable, UnixMs};
use serde_json::Value;

/// A job's windows, and the interval that holds outside of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// The interval outside of all windows.
    pub base: Interval,
    /// The windows.
    pub timetable: Timetable,
}

/// What is in force at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// The interval.
    pub interval: Interval,
    /// Whether it is that of a window.
    pub in_window: bool,
    /// When another may be.
    pub turns_at: UnixMs,
    /// The interval outside of windows, ms.
    pub base_ms: i64,
    /// The windows, for Postgres.
    pub json: Value,
}

impl Windows {
    /// As stored; none if there are none.
    pub(super) fn read(base_ms: Option<i64>, json: Option<&Value>) -> Option<Self> {
        let base = Interval::from_ms(base_ms?.try_into().ok()?)?;
        Some(Self { base, timetable: Timetable::from_json(json?)? })
    }

    /// What is in force at an instant.
    pub fn at(&self, now: UnixMs) -> InForce {
        let window = self.timetable.at(now);
        InForce {
            interval: window.unwrap_or(self.base),
            in_window: window.is_some(),
            turns_at: self.timetable.next_change(now),
            base_ms: self.base.as_ms() as i64,
            json: self.timetable.to_json(),
        }
    }
}
