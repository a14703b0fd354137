//! Intervals by time of day, as a job has them.

use crate::words::{Interval, Timetable, UnixMs};
use serde_json::Value;
use std::collections::HashMap;

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

/// What is in force at an instant, computed once for all jobs that have the same windows.
#[derive(Default)]
pub(super) struct InForceCache(HashMap<(i64, String), Option<InForce>>);

impl InForceCache {
    /// For windows as stored; none if there are none, or if they cannot be read.
    pub(super) fn at(&mut self, base_ms: Option<i64>, json: Option<&Value>, now: UnixMs) -> Option<InForce> {
        let (base_ms, json) = (base_ms?, json?);
        let known = self.0.entry((base_ms, json.to_string()));
        known.or_insert_with(|| Some(Windows::read(Some(base_ms), Some(json))?.at(now))).clone()
    }
}

impl Windows {
    /// The interval that holds at an instant.
    pub fn interval_at(&self, now: UnixMs) -> Interval {
        self.timetable.at(now).unwrap_or(self.base)
    }

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
