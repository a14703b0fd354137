//! How often a job is asked to run.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The time between two runs, in whole milliseconds: more than zero, at most [`Interval::MAX`].
///
/// Written as people write it: `30s`, `5m`, `1h 30m`, `1day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interval(u32);

/// Why an interval is refused. The text names the range that would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntervalError {
    /// Not a duration at all.
    #[error(
        "{text:?} is not an interval: write a number and a unit, such as 30s, 5m or 1h; from {min} to {max}"
    )]
    Unreadable {
        /// What was written.
        text: String,
        /// The smallest accepted.
        min: Interval,
        /// The largest accepted.
        max: Interval,
    },
    /// A duration outside the range.
    #[error("an interval of {asked} is out of range: choose from {min} to {max}")]
    OutOfRange {
        /// What was asked, as it was written.
        asked: String,
        /// The smallest accepted.
        min: Interval,
        /// The largest accepted.
        max: Interval,
    },
}

impl Interval {
    /// The shortest that any provider may allow.
    pub const MIN: Self = Self(100);
    /// 31 days: past that a schedule is a calendar, and this is none.
    pub const MAX: Self = Self(31 * DAY_MS as u32);

    /// An interval of so many milliseconds, if it is within `MIN..=MAX`.
    pub fn from_ms(ms: u64) -> Option<Self> {
        let ms = u32::try_from(ms).ok()?;
        (Self::MIN.0..=Self::MAX.0).contains(&ms).then_some(Self(ms))
    }

    /// Its length in milliseconds.
    pub fn as_ms(self) -> u64 {
        self.0.into()
    }

    /// Reads what a person wrote, within `min` (the provider's) and [`Interval::MAX`].
    pub fn parse_within(text: &str, min: Self) -> Result<Self, IntervalError> {
        let (min, max) = (min.max(Self::MIN), Self::MAX);
        let out_of_range = || IntervalError::OutOfRange { asked: text.trim().to_owned(), min, max };
        // A leading minus is a duration with a sign to people, and a syntax error to parsers.
        if text.trim().strip_prefix('-').is_some_and(|rest| humantime::parse_duration(rest).is_ok()) {
            return Err(out_of_range());
        }
        let duration = humantime::parse_duration(text.trim()).map_err(|_| IntervalError::Unreadable {
            text: text.to_owned(),
            min,
            max,
        })?;
        u64::try_from(duration.as_millis())
            .ok()
            .and_then(Self::from_ms)
            .filter(|asked| *asked >= min)
            .ok_or_else(out_of_range)
    }
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

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Days are the largest unit: `humantime` would go on to months of 30.44 days.
        let (days, rest) = (self.as_ms() / DAY_MS, self.as_ms() % DAY_MS);
        let unit = if days == 1 { "day" } else { "days" };
        let days = if days == 0 { String::new() } else { format!("{days}{unit}") };
        let rest = match rest {
            0 => String::new(),
            ms => humantime::format_duration(Duration::from_millis(ms)).to_string().replace(' ', ""),
        };
        f.pad(&(days + &rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, ms) in [("30s", 30_000), ("5m", 300_000), ("1h 30m", 5_400_000), ("1500ms", 1_500)] {
            assert_eq!(text.parse::<Interval>().unwrap().as_ms(), ms, "{text}");
        }
    }

    #[test]
    fn prints_what_it_reads() {
        for text in ["30s", "1m30s", "1s500ms", "1day", "1day1h", "31days"] {
            let interval: Interval = text.parse().unwrap();
            assert_eq!(interval.to_string(), text);
            assert_eq!(interval.to_string().parse::<Interval>().unwrap(), interval);
        }
    }

    #[test]
    fn refusals_name_the_range() {
        let min = Interval::from_ms(5_000).unwrap();
        for text in ["0s", "-5s", "4s", "32days", "30 parsecs", "", "30", "99999999999999999999days"] {
            let refusal = Interval::parse_within(text, min).expect_err(text).to_string();
            assert!(refusal.contains("5s") && refusal.contains("31days"), "{text}: {refusal}");
        }
    }
}
