//! Intervals by time of day. Pure: what holds at an instant, and when that changes next.

use super::{Interval, IntervalError};
use crate::words::UnixMs;
use crate::words::text::excerpt;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};
use serde::{Deserialize, Serialize};
use std::fmt;

/// More windows are refused.
pub const WINDOWS_MAX: usize = 16;
/// Where nothing changes for so long, one looks again then.
const LOOK_AGAIN_DAYS: i32 = 8;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// A part of the day in which another interval holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it begins, by the clock on the wall.
    #[schema(example = "07:00")]
    pub from: String,
    /// When it ends. A window that ends when it begins lasts a day; one that ends earlier passes midnight.
    #[schema(example = "22:00")]
    pub to: String,
    /// The days on which it begins: mon, tue, wed, thu, fri, sat, sun; left out, every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["mon", "fri"]))]
    pub days: Vec<String>,
    /// The interval that holds in it.
    #[schema(value_type = String, example = "30s")]
    pub interval: Interval,
}

/// A zone's windows. Outside of all of them another interval holds, which is the job's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    zone: TimeZone,
    windows: Vec<Part>,
}

/// A window in minutes of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    from: u16,
    to: u16,
    days: [bool; 7],
    interval: Interval,
}

/// As it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    zone: String,
    windows: Vec<Window>,
}

/// Why windows are not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimetableError {
    /// The zone.
    #[error("{:?} is not a time zone: use an IANA name such as UTC, Europe/Paris or America/Los_Angeles", excerpt(.0))]
    Zone(String),
    /// A time of day.
    #[error("{:?} is not a time of day: use hours and minutes, from 00:00 to 23:59", excerpt(.0))]
    Time(String),
    /// A day of the week.
    #[error("{:?} is not a day: use mon, tue, wed, thu, fri, sat and sun", excerpt(.0))]
    Day(String),
    /// An interval.
    #[error(transparent)]
    Interval(#[from] IntervalError),
    /// Too many.
    #[error("{0} windows are too many: use at most {WINDOWS_MAX}")]
    TooMany(usize),
}

impl Timetable {
    /// Reads windows and a zone. The first of the windows that contain an instant counts.
    pub fn new(zone: &str, windows: &[Window], minimum: Interval) -> Result<Self, TimetableError> {
        if windows.len() > WINDOWS_MAX {
            return Err(TimetableError::TooMany(windows.len()));
        }
        let zone = jiff::tz::db().get(zone).map_err(|_| TimetableError::Zone(zone.to_owned()))?;
        let windows = windows.iter().map(|window| Part::read(window, minimum)).collect::<Result<_, _>>()?;
        Ok(Self { zone, windows })
    }

    /// As [`Timetable::to_json`] wrote it; none if it did not.
    pub fn from_json(json: &serde_json::Value) -> Option<Self> {
        let stored = Stored::deserialize(json).ok()?;
        Self::new(&stored.zone, &stored.windows, Interval::MIN).ok()
    }

    /// For Postgres.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(Stored { zone: self.zone_name().to_owned(), windows: self.windows() })
    }

    /// The zone's IANA name.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The windows as people write them.
    pub fn windows(&self) -> Vec<Window> {
        self.windows.iter().map(Part::written).collect()
    }

    /// The interval of the window that contains an instant; none outside of all.
    pub fn at(&self, now: UnixMs) -> Option<Interval> {
        self.of(&self.zoned(now))
    }

    fn of(&self, at: &Zoned) -> Option<Interval> {
        let minute = u16::try_from(i32::from(at.hour()) * 60 + i32::from(at.minute())).unwrap_or(0);
        let day = usize::try_from(at.weekday().to_monday_zero_offset()).unwrap_or(0);
        self.windows.iter().find(|window| window.contains(day, minute)).map(|window| window.interval)
    }

    /// When another interval begins to hold; or, where that is far, when to look again.
    pub fn next_change(&self, now: UnixMs) -> UnixMs {
        let at = self.zoned(now);
        let current = self.of(&at);
        let last = at.checked_add(LOOK_AGAIN_DAYS.days()).unwrap_or_else(|_| at.clone());
        let mut instants: Vec<Timestamp> = Vec::new();
        // Each edge of each day. One that a clock change skips or repeats is met at the change, or at both times.
        for day in -1..=LOOK_AGAIN_DAYS {
            let Ok(date) = at.date().checked_add(Span::new().days(day)) else { continue };
            for minute in self.windows.iter().flat_map(|window| [window.from, window.to]) {
                let (hour, minute) = ((minute / 60) as i8, (minute % 60) as i8);
                let written = self.zone.to_ambiguous_zoned(date.at(hour, minute, 0, 0));
                instants.extend(written.clone().earlier().map(|zoned| zoned.timestamp()).ok());
                instants.extend(written.later().map(|zoned| zoned.timestamp()).ok());
            }
        }
        let changes = self.zone.following(at.timestamp()).map(|change| change.timestamp());
        instants.extend(changes.take_while(|change| *change <= last.timestamp()));
        instants.retain(|instant| *instant > at.timestamp());
        instants.sort_unstable();
        let differs = |instant: &&Timestamp| self.of(&instant.to_zoned(self.zone.clone())) != current;
        let next = instants.iter().find(differs).copied().unwrap_or(last.timestamp());
        UnixMs(next.as_millisecond())
    }

    fn zoned(&self, at: UnixMs) -> Zoned {
        let at = Timestamp::from_millisecond(at.0).unwrap_or(match at.0 < 0 {
            true => Timestamp::MIN,
            false => Timestamp::MAX,
        });
        at.to_zoned(self.zone.clone())
    }
}

impl Part {
    fn read(window: &Window, minimum: Interval) -> Result<Self, TimetableError> {
        let mut days = [window.days.is_empty(); 7];
        for day in &window.days {
            let known = DAYS.iter().position(|name| day.eq_ignore_ascii_case(name));
            days[known.ok_or_else(|| TimetableError::Day(day.clone()))?] = true;
        }
        // Again, because only now its minimum is known.
        let interval = Interval::parse_within(&window.interval.to_string(), minimum)?;
        Ok(Self { from: minute(&window.from)?, to: minute(&window.to)?, days, interval })
    }

    fn written(&self) -> Window {
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let days = DAYS.iter().zip(self.days).filter(|(_, is)| *is).map(|(name, _)| (*name).to_owned());
        let days = if self.days == [true; 7] { Vec::new() } else { days.collect() };
        Window { from: time(self.from), to: time(self.to), days, interval: self.interval }
    }

    /// Whether it contains a minute of a day of the week, counted from Monday.
    fn contains(&self, day: usize, minute: u16) -> bool {
        let (today, yesterday) = (self.days[day % 7], self.days[(day + 6) % 7]);
        if self.from < self.to {
            today && (self.from..self.to).contains(&minute)
        } else {
            today && minute >= self.from || yesterday && minute < self.to
        }
    }
}

/// The minute of the day of `07:00`.
fn minute(text: &str) -> Result<u16, TimetableError> {
    let bad = || TimetableError::Time(text.to_owned());
    let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
    let number = |digits: &str, below: u16| {
        let is_plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|number| is_plain && *number < below).ok_or_else(bad)
    };
    Ok(number(hour, 24)? * 60 + number(minute, 60)?)
}

impl Serialize for Timetable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl fmt::Display for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, window) in self.windows().iter().enumerate() {
            let days =
                if window.days.is_empty() { String::new() } else { format!(" {}", window.days.join(",")) };
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{} from {} to {}{days}", window.interval, window.from, window.to)?;
        }
        write!(f, " ({})", self.zone_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn window(from: &str, to: &str, days: &[&str], interval: &str) -> Window {
        let days = days.iter().map(|day| (*day).to_owned()).collect();
        Window { from: from.to_owned(), to: to.to_owned(), days, interval: interval.parse().unwrap() }
    }

    fn timetable(zone: &str, windows: &[Window]) -> Timetable {
        Timetable::new(zone, windows, Interval::MIN).unwrap()
    }

    fn instant(text: &str) -> UnixMs {
        UnixMs(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn windows_hold_by_the_clock_on_the_wall() {
        let day = timetable("Europe/Oslo", &[window("07:00", "22:00", &[], "30s")]);
        let night = timetable("Europe/Oslo", &[window("22:00", "06:00", &["fri"], "1m")]);
        for (at, by_day, by_night) in [
            ("2026-01-16T05:59:59Z", false, false), // a Friday, 06:59:59 in Oslo
            ("2026-01-16T06:00:00Z", true, false),
            ("2026-07-17T05:00:00Z", true, false),
            ("2026-01-16T20:59:59Z", true, false),
            ("2026-01-16T21:00:00Z", false, true),
            ("2026-01-17T04:59:00Z", false, true),
            ("2026-01-17T05:00:00Z", false, false),
            ("2026-01-17T21:30:00Z", false, false), // a Saturday
        ] {
            assert_eq!(day.at(instant(at)).is_some(), by_day, "{at}");
            assert_eq!(night.at(instant(at)).is_some(), by_night, "{at}");
        }
        // The first that contains an instant counts.
        let both = [window("08:00", "09:00", &[], "5s"), window("00:00", "00:00", &[], "1h")];
        let both = timetable("UTC", &both);
        assert_eq!(both.at(instant("2026-01-16T08:30:00Z")).unwrap().to_string(), "5s");
        assert_eq!(both.at(instant("2026-01-16T09:00:00Z")).unwrap().to_string(), "1h");
    }

    /// Minute by minute through days in which clocks change, the next change is the first minute that differs.
    #[test]
    fn next_change_is_exact_over_both_clock_changes() {
        let windows = [
            vec![window("07:00", "22:00", &[], "30s")],
            vec![window("22:00", "06:00", &["sat", "sun"], "1m")],
            // Skipped or repeated by the change itself.
            vec![window("02:15", "02:45", &[], "10s")],
            vec![window("01:30", "02:30", &[], "10s"), window("02:30", "04:00", &[], "20s")],
            vec![window("02:30", "02:30", &["sun"], "10s")],
        ];
        let clocks = [
            ("Europe/Oslo", "2026-03-28T12:00:00Z"),
            ("Europe/Oslo", "2026-10-24T12:00:00Z"),
            ("America/New_York", "2026-03-07T12:00:00Z"),
            ("America/New_York", "2026-10-31T12:00:00Z"),
        ];
        for (zone, begin) in clocks {
            for windows in &windows {
                let (table, begin) = (timetable(zone, windows), instant(begin));
                let minutes: Vec<_> =
                    (0..2 * 24 * 60).map(|n| table.at(begin.plus_ms(n * MINUTE_MS))).collect();
                for (n, now) in minutes.iter().enumerate().step_by(7) {
                    let later = minutes[n..].iter().position(|other| other != now);
                    let Some(later) = later else { break };
                    let (n, later) = (n as i64, later as i64);
                    let at = begin.plus_ms(n * MINUTE_MS + 1);
                    let expected = begin.plus_ms((n + later) * MINUTE_MS);
                    assert_eq!(table.next_change(at), expected, "{table} from {at}");
                }
            }
        }
    }

    #[test]
    fn a_table_in_which_nothing_changes_is_looked_at_again() {
        let now = instant("2026-01-16T08:30:00Z");
        for windows in [vec![], vec![window("00:00", "00:00", &[], "1m")]] {
            let next = timetable("UTC", &windows).next_change(now);
            assert_eq!(next.since_ms(now), 8 * 24 * 3_600_000);
        }
    }

    #[test]
    fn stored_form_is_read_as_it_was_written() {
        let windows = [window("07:00", "22:00", &["mon", "sun"], "30s"), window("22:00", "07:00", &[], "1h")];
        let table = timetable("America/New_York", &windows);
        assert_eq!(Timetable::from_json(&table.to_json()), Some(table.clone()));
        assert_eq!(table.windows(), windows);
        assert_eq!(
            table.to_string(),
            "30s from 07:00 to 22:00 mon,sun, 1h from 22:00 to 07:00 (America/New_York)"
        );
    }

    #[test]
    fn refusals_say_what_is_accepted() {
        let refused = |zone: &str, window: Window| {
            Timetable::new(zone, &[window], "10s".parse().unwrap()).unwrap_err().to_string()
        };
        for bad in ["7:00", "24:00", "07:60", "0700", "", "07:00:00", "-1:00", "٠٧:٠٠"] {
            let said = refused("UTC", window(bad, "22:00", &[], "30s"));
            assert!(said.contains("from 00:00 to 23:59"), "{said}");
        }
        assert!(refused("Oslo", window("07:00", "22:00", &[], "30s")).contains("IANA"));
        assert!(refused("UTC", window("07:00", "22:00", &["monday"], "30s")).contains("mon, tue"));
        assert!(refused("UTC", window("07:00", "22:00", &[], "5s")).contains("10s"));
        let many = vec![window("07:00", "22:00", &[], "30s"); 17];
        assert!(Timetable::new("UTC", &many, Interval::MIN).unwrap_err().to_string().contains("at most 16"));
    }
}
