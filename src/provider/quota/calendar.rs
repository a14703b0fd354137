//! Windows that the calendar opens and closes, in a zone's own time.

use crate::words::UnixMs;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use serde::Deserialize;
use std::fmt;

/// A part of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Calendar {
    /// From :00 to :60.
    Minute,
    /// On the hour.
    Hour,
    /// From midnight.
    Day,
    /// From the first.
    Month,
}

impl Calendar {
    const ALL: [Self; 4] = [Self::Minute, Self::Hour, Self::Day, Self::Month];

    /// The word in definitions.
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

    /// Its usual length, ms; that of its shortest for a month. Changes of the clock make some days shorter.
    pub fn least_ms(self) -> f64 {
        match self {
            Self::Minute => 60_000.0,
            Self::Hour => 3_600_000.0,
            Self::Day => 86_400_000.0,
            Self::Month => 28.0 * 86_400_000.0,
        }
    }

    /// Three turns of the calendar: the last at or before `now`, and the two that follow.
    pub fn turns(self, zone: &Zone, now: UnixMs) -> [UnixMs; 3] {
        let first = self.last_turn(zone, now);
        let second = self.next_turn(zone, first);
        [first, second, self.next_turn(zone, second)]
    }

    fn last_turn(self, zone: &Zone, now: UnixMs) -> UnixMs {
        let at = zone.at(now);
        let turn = match self {
            // Offsets of zones are whole minutes today, and of quarters of an hour: asked of the zone, not assumed.
            Self::Minute => at.with().second(0).subsec_nanosecond(0).build(),
            Self::Hour => at.with().minute(0).second(0).subsec_nanosecond(0).build(),
            Self::Day => at.start_of_day(),
            Self::Month => at.first_of_month().and_then(|first| first.start_of_day()),
        };
        let turn = turn.map_or(now, |turn| UnixMs(turn.timestamp().as_millisecond()));
        turn.min(now)
    }

    fn next_turn(self, zone: &Zone, turn: UnixMs) -> UnixMs {
        let at = zone.at(turn);
        // Minutes and hours are lengths of time, days and months are dates.
        let next = match self {
            Self::Minute => at.checked_add(1.minute()),
            Self::Hour => at.checked_add(1.hour()),
            Self::Day => at.checked_add(1.day()).and_then(|day| day.start_of_day()),
            Self::Month => at.checked_add(1.month()).and_then(|day| day.start_of_day()),
        };
        let usual = turn.plus_ms(self.least_ms() as i64);
        next.map_or(usual, |next| UnixMs(next.timestamp().as_millisecond()))
    }
}

/// A time zone by its IANA name; UTC when nothing is said. The names are built in, so that no machine lacks them.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Zone(TimeZone);

/// A zone that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time zone: use an IANA name such as UTC, Europe/Paris or America/Los_Angeles")]
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

    fn turns(calendar: Calendar, name: &str, now: &str) -> [String; 3] {
        let now = now.parse::<Timestamp>().unwrap().as_millisecond();
        calendar.turns(&zone(name), UnixMs(now)).map(|at| at.to_string().replace(".000Z", "Z"))
    }

    #[test]
    fn days_turn_at_the_zones_midnight_and_know_its_summer_time() {
        assert_eq!(
            turns(Calendar::Day, "Europe/Paris", "2026-03-28T22:59:59Z"),
            ["2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]
        );
        assert_eq!(
            turns(Calendar::Day, "America/Los_Angeles", "2026-11-01T08:00:00Z"),
            ["2026-11-01T07:00:00Z", "2026-11-02T08:00:00Z", "2026-11-03T08:00:00Z"]
        );
    }

    #[test]
    fn hours_turn_by_the_zones_clock_and_are_lengths() {
        assert_eq!(
            turns(Calendar::Hour, "Asia/Kathmandu", "2026-01-01T00:00:00Z"),
            ["2025-12-31T23:15:00Z", "2026-01-01T00:15:00Z", "2026-01-01T01:15:00Z"]
        );
        // The hour that comes twice is two hours.
        assert_eq!(
            turns(Calendar::Hour, "Europe/Paris", "2026-10-25T00:30:00Z"),
            ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]
        );
    }

    #[test]
    fn months_and_minutes_turn() {
        assert_eq!(
            turns(Calendar::Month, "UTC", "2026-12-31T23:59:59.999Z"),
            ["2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"]
        );
        assert_eq!(
            turns(Calendar::Minute, "UTC", "2026-01-01T00:00:00Z"),
            ["2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]
        );
    }

    #[test]
    fn a_zone_that_nobody_knows_is_refused() {
        assert!(Zone::try_from("Mars/Olympus".to_owned()).unwrap_err().to_string().contains("IANA"));
    }
}
