//! The interval at which a job is refreshed; by time of day, if its owner wants that.

mod timetable;

pub use timetable::{Timetable, TimetableError, Window};

use super::text::excerpt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The time between two runs, in whole milliseconds: more than zero, at most [`Interval::MAX`].
///
/// Text form: `30s`, `5m`, `1h 30m`, `1day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interval(u32);

/// Why an interval is invalid. The text names the accepted range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// Not a duration.
    #[error(
        "{text:?} is not an interval; use numbers with the units ms, s, m, h and d, such as 30s or 1h 30m, from {min} \
         to {max}"
    )]
    Unreadable {
        /// The input.
        text: String,
        /// The shortest accepted.
        min: Interval,
        /// The longest accepted.
        max: Interval,
    },
    /// A duration outside the range.
    #[error("an interval of {asked} is out of range; use {min} to {max}")]
    OutOfRange {
        /// The requested interval, as written.
        asked: String,
        /// The shortest accepted.
        min: Interval,
        /// The longest accepted.
        max: Interval,
    },
}

impl Interval {
    /// The shortest interval that a provider may allow.
    pub const MIN: Self = Self(100);
    /// 31 days. Longer schedules follow a calendar, which is not supported.
    pub const MAX: Self = Self(31 * 24 * 60 * 60 * 1000);

    /// An interval of `ms`, if within `MIN..=MAX`.
    pub fn from_ms(ms: u64) -> Option<Self> {
        let ms = u32::try_from(ms).ok()?;
        (Self::MIN.0..=Self::MAX.0).contains(&ms).then_some(Self(ms))
    }

    /// The length in milliseconds.
    pub fn as_ms(self) -> u64 {
        self.0.into()
    }

    /// Parses text. `min` is the provider's minimum.
    pub fn parse_within(text: &str, min: Self) -> Result<Self, IntervalError> {
        let (min, max) = (min.max(Self::MIN), Self::MAX);
        let quoted = excerpt(text.trim()).into_owned();
        let out_of_range = || IntervalError::OutOfRange { asked: quoted.clone(), min, max };
        // People read a leading minus as a negative duration, but the parser reports a syntax error.
        if text.trim().strip_prefix('-').is_some_and(|rest| duration_ms(rest).is_some()) {
            return Err(out_of_range());
        }
        let unreadable = || IntervalError::Unreadable { text: quoted.clone(), min, max };
        Self::from_ms(duration_ms(text).ok_or_else(unreadable)?)
            .filter(|asked| *asked >= min)
            .ok_or_else(out_of_range)
    }
}

/// A duration of any length, ms; one that is too long to count is as long as can be counted.
pub fn duration_ms(text: &str) -> Option<u64> {
    let duration = humantime::parse_duration(text.trim()).ok().filter(|_| has_known_units(text))?;
    Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// humantime also knows weeks, years, and `M` for months of 30.44 days: who writes `1M` for a minute would get that.
fn has_known_units(text: &str) -> bool {
    let mut units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty());
    units.all(|unit| matches!(unit, "ms" | "s" | "m" | "h" | "d" | "day" | "days"))
}

impl FromStr for Interval {
    type Err = IntervalError;
    fn from_str(text: &str) -> Result<Self, IntervalError> {
        Self::parse_within(text, Self::MIN)
    }
}

impl TryFrom<String> for Interval {
    type Error = IntervalError;
    fn try_from(text: String) -> Result<Self, IntervalError> {
        text.parse()
    }
}

impl From<Interval> for String {
    fn from(interval: Interval) -> String {
        interval.to_string()
    }
}

/// Days are the longest unit: a month has no fixed length.
const UNITS: [(&str, u64); 5] =
    [("day", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&duration_text(self.as_ms()))
    }
}

/// A duration as text that [`duration_ms`] reads; empty for none.
pub fn duration_text(ms: u64) -> String {
    let (mut left, mut text) = (ms, String::new());
    for (unit, ms) in UNITS {
        let plural = if unit == "day" && left / ms > 1 { "s" } else { "" };
        if left >= ms {
            text += &format!("{}{unit}{plural}", left / ms);
        }
        left %= ms;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_common_notations() {
        for (text, ms) in [("30s", 30_000), ("5m", 300_000), ("1h 30m", 5_400_000), ("1500ms", 1_500)] {
            assert_eq!(text.parse::<Interval>().unwrap().as_ms(), ms, "{text}");
        }
    }

    #[test]
    fn display_round_trips() {
        for text in ["30s", "1m30s", "1s500ms", "1day", "7days2h", "31days"] {
            assert_eq!(text.parse::<Interval>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_units_are_refused_with_the_list() {
        assert_eq!("1d".parse::<Interval>().unwrap(), "1day".parse().unwrap());
        for text in ["1M", "1month", "2weeks", "1w", "1y", "30S", "5min", "30sec", "1hour", "100us"] {
            let refusal = text.parse::<Interval>().expect_err(text).to_string();
            assert!(refusal.contains("ms, s, m, h and d"), "{text}: {refusal}");
        }
        assert!("x".repeat(1 << 20).parse::<Interval>().unwrap_err().to_string().len() < 250);
    }

    #[test]
    fn errors_name_the_accepted_range() {
        let min = Interval::from_ms(5_000).unwrap();
        for text in ["0s", "-5s", "4s", "32days", "30 parsecs", "", "30", "99999999999999999999days"] {
            let refusal = Interval::parse_within(text, min).expect_err(text).to_string();
            assert!(refusal.contains("5s") && refusal.contains("31days"), "{text}: {refusal}");
        }
    }
}
