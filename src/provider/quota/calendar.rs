//! Calendar windows in a time zone: minute, hour, day and month.

use crate::words::UnixMs;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use serde::Deserialize;
use std::fmt;

/// A calendar unit: the length of a window that begins and ends with the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Calendar {
    /// Begins at second 0.
    Minute,
    /// Begins on the hour.
    Hour,
    /// Begins at midnight.
    Day,
    /// Begins at midnight of the first day.
    Month,
}

impl Calendar {
    const ALL: [Self; 4] = [Self::Minute, Self::Hour, Self::Day, Self::Month];

    /// Its name in definitions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == word)
    }

    /// Its usual length in ms; for a month, that of the shortest one. Daylight saving time makes some days shorter.
    pub fn least_ms(self) -> f64 {
        match self {
            Self::Minute => 60_000.0,
            Self::Hour => 3_600_000.0,
            Self::Day => 86_400_000.0,
            Self::Month => 28.0 * 86_400_000.0,
        }
    }

    /// Its greatest length in ms: a day that daylight saving time makes longer, or the longest month.
    pub(crate) fn most_ms(self) -> i64 {
        const HOUR_MS: i64 = 3_600_000;
        match self {
            Self::Minute => 60_000,
            Self::Hour => HOUR_MS,
            Self::Day => 25 * HOUR_MS,
            Self::Month => (31 * 24 + 1) * HOUR_MS,
        }
    }

    /// Three window boundaries: the last at or before `now`, and the two that follow.
    pub fn boundaries(self, zone: &Zone, now: UnixMs) -> [UnixMs; 3] {
        let first = self.last_boundary(zone, now);
        let second = self.next_boundary(zone, first);
        [first, second, self.next_boundary(zone, second)]
    }

    fn last_boundary(self, zone: &Zone, now: UnixMs) -> UnixMs {
        let at = zone.at(now);
        let boundary = match self {
            // Zone offsets are not whole hours everywhere, so the zone is asked for them.
            Self::Minute => at.with().second(0).subsec_nanosecond(0).build(),
            Self::Hour => at.with().minute(0).second(0).subsec_nanosecond(0).build(),
            Self::Day => at.start_of_day(),
            Self::Month => at.first_of_month().and_then(|first| first.start_of_day()),
        };
        let boundary = boundary.map_or(now, |boundary| UnixMs(boundary.timestamp().as_millisecond()));
        boundary.min(now)
    }

    fn next_boundary(self, zone: &Zone, boundary: UnixMs) -> UnixMs {
        let at = zone.at(boundary);
        // Minutes and hours are spans of time; days and months are dates.
        let next = match self {
            Self::Minute => at.checked_add(1.minute()),
            Self::Hour => at.checked_add(1.hour()),
            Self::Day => at.checked_add(1.day()).and_then(|day| day.start_of_day()),
            Self::Month => at.checked_add(1.month()).and_then(|day| day.start_of_day()),
        };
        let usual = boundary.plus_ms(self.least_ms() as i64);
        next.map_or(usual, |next| UnixMs(next.timestamp().as_millisecond()))
    }
}

/// A time zone by its IANA name; UTC by default. The time zone database is built in, so that the host needs none.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Zone(TimeZone);

/// An unknown time zone name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time zone: use an IANA name such as UTC, Europe/Paris or America/Los_Angeles")]
pub struct UnknownZone(String);

impl TryFrom<String> for Zone {
    type Error = UnknownZone;
    fn try_from(name: String) -> Result<Self, UnknownZone> {
        jiff::tz::db().get(&name).map(Self).map_err(|_| UnknownZone(name))
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    fn at(&self, now: UnixMs) -> Zoned {
        let at = Timestamp::from_millisecond(now.0).unwrap_or(match now.0 < 0 {
            true => Timestamp::MIN,
            false => Timestamp::MAX,
        });
        at.to_zoned(self.0.clone())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::try_from(name.to_owned()).unwrap()
    }

    fn boundaries(calendar: Calendar, name: &str, now: &str) -> [String; 3] {
        let now = now.parse::<Timestamp>().unwrap().as_millisecond();
        calendar.boundaries(&zone(name), UnixMs(now)).map(|at| at.to_string().replace(".000Z", "Z"))
    }

    #[test]
    fn day_boundaries_follow_the_zones_midnight_and_daylight_saving_time() {
        assert_eq!(
            boundaries(Calendar::Day, "Europe/Paris", "2026-03-28T22:59:59Z"),
            ["2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]
        );
        assert_eq!(
            boundaries(Calendar::Day, "America/Los_Angeles", "2026-11-01T08:00:00Z"),
            ["2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z", "2026-11-03T08:00:00Z"]
        );
    }

    #[test]
    fn hour_boundaries_follow_the_zones_offset() {
        assert_eq!(
            boundaries(Calendar::Hour, "Asia/Kathmandu", "2026-01-01T00:00:00Z"),
            ["2025-12-31T23:15:00Z", "2026-01-01T00:15:00Z", "2026-01-01T01:15:00Z"]
        );
        // The hour that the clock repeats counts as two.
        assert_eq!(
            boundaries(Calendar::Hour, "Europe/Paris", "2026-10-25T00:30:00Z"),
            ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]
        );
    }

    #[test]
    fn month_and_minute_boundaries_are_calendar_boundaries() {
        assert_eq!(
            boundaries(Calendar::Month, "UTC", "2026-12-31T23:59:59.999Z"),
            ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"]
        );
        assert_eq!(
            boundaries(Calendar::Minute, "UTC", "2026-01-01T00:00:00Z"),
            ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]
        );
    }

    #[test]
    fn unknown_zone_is_refused() {
        assert!(Zone::try_from("Mars/Olympus".to_owned()).unwrap_err().to_string().contains("IANA"));
    }
}
