//! The lengths of time that readings are rolled up by.

use crate::words::UnixMs;

/// A length of time whose readings are rolled up into one row. Each is a multiple of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    Hour,
    /// A day of UTC.
    Day,
}

impl Level {
    /// All, the shortest first.
    pub const ALL: [Self; 3] = [Self::FiveMinutes, Self::Hour, Self::Day];

    /// Its length, ms.
    pub fn ms(self) -> i64 {
        match self {
            Self::FiveMinutes => 300_000,
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }

    /// As Postgres stores it.
    pub fn number(self) -> i16 {
        match self {
            Self::FiveMinutes => 1,
            Self::Hour => 2,
            Self::Day => 3,
        }
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::Day => "1day",
        }
    }

    /// The level that it is rolled up from; none: from readings.
    pub fn source(self) -> Option<Self> {
        match self {
            Self::FiveMinutes => None,
            Self::Hour => Some(Self::FiveMinutes),
            Self::Day => Some(Self::Hour),
        }
    }

    /// The longest whose rows lie wholly in steps of this length; none: steps are made of readings.
    pub fn of_step(step_ms: i64) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|level| step_ms % level.ms() == 0)
    }

    /// The beginning of the stretch that this instant lies in.
    pub fn floor(self, at: UnixMs) -> UnixMs {
        floor(at, self.ms())
    }
}

/// The beginning of the step that an instant lies in; steps are counted from the epoch.
pub(super) fn floor(at: UnixMs, step_ms: i64) -> UnixMs {
    UnixMs(at.0.div_euclid(step_ms) * step_ms)
}
