//! The site of an account: location and weather, shared by all its devices.

use std::f64::consts::{PI, TAU};

use crate::cloud::rng::Key;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A location, drawn from the account's key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    key: Key,
    latitude_deg: f64,
    /// Offset of local solar time: there are no time zones, and the sun is highest at noon.
    offset_ms: i64,
}

/// An instant in the site's local time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Local {
    /// Days since 1970, local.
    pub(crate) day: i64,
    /// Fractional hour of the day, `0.0..24.0`.
    pub(crate) hour: f64,
}

const LATITUDE: u64 = 1;
const LONGITUDE: u64 = 2;
const AIR: u64 = 3;
const PRESSURE: u64 = 4;
const WIND: u64 = 5;
const RAIN: u64 = 6;

impl Site {
    pub(crate) fn new(key: Key) -> Self {
        let longitude_deg = key.with(LONGITUDE).between(-9.0, 24.0);
        Self {
            key,
            latitude_deg: key.with(LATITUDE).between(38.0, 60.0),
            offset_ms: (longitude_deg / 15.0 * HOUR_MS as f64) as i64,
        }
    }

    pub(crate) fn local(&self, at_ms: i64) -> Local {
        let local_ms = at_ms + self.offset_ms;
        let hour = local_ms.rem_euclid(DAY_MS) as f64 / HOUR_MS as f64;
        Local { day: local_ms.div_euclid(DAY_MS), hour }
    }

    /// Hours between sunrise and sunset, by the sunrise equation without refraction.
    pub(crate) fn daylight_hours(&self, day: i64) -> f64 {
        let declination = (23.44 * season(day)).to_radians();
        let half_day = -(self.latitude_deg.to_radians().tan() * declination.tan());
        half_day.clamp(-1.0, 1.0).acos() * 24.0 / PI
    }

    /// Air temperature by latitude, season, hour and weather.
    pub(crate) fn outdoor_c(&self, at_ms: i64) -> f64 {
        let Local { day, hour } = self.local(at_ms);
        let climate = 14.0 - (self.latitude_deg - 45.0) * 0.45;
        // Warmest at three in the afternoon, coldest before sunrise.
        let of_day = 4.0 * ((hour - 15.0) / 24.0 * TAU).cos();
        climate + 9.5 * season(day) + of_day + 4.0 * self.key.with(AIR).wave(at_ms, 3 * DAY_MS)
    }

    pub(crate) fn pressure_hpa(&self, at_ms: i64) -> f64 {
        1_014.0 + 16.0 * self.key.with(PRESSURE).wave(at_ms, 40 * HOUR_MS)
    }

    pub(crate) fn wind_ms(&self, at_ms: i64) -> f64 {
        let (front, gust) = (self.key.with(WIND), self.key.with(WIND).with(1));
        (3.4 + 3.0 * front.wave(at_ms, 6 * HOUR_MS) + 1.2 * gust.wave(at_ms, 20_000)).max(0.0)
    }

    /// Mostly zero: only the peaks of the wave are rain.
    pub(crate) fn rain_mm_h(&self, at_ms: i64) -> f64 {
        ((self.key.with(RAIN).wave(at_ms, 3 * HOUR_MS) - 0.6) * 12.0).max(0.0)
    }
}

/// From −1 at midwinter (late December) to 1 at midsummer.
pub(crate) fn season(day: i64) -> f64 {
    season_angle(day).cos()
}

/// The antiderivative of [`season`] over days, for counters that must add up.
pub(crate) fn season_sum(day: i64) -> f64 {
    season_angle(day).sin() * YEAR_DAYS / TAU
}

const YEAR_DAYS: f64 = 365.2425;

fn season_angle(day: i64) -> f64 {
    // Day 171 after 1 January 1970 is a 21 June.
    (day - 171) as f64 / YEAR_DAYS * TAU
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-06-21 and 2026-12-21, in days since 1970.
    const MIDSUMMER: i64 = 20_625;
    const MIDWINTER: i64 = 20_808;

    #[test]
    fn season_is_1_at_midsummer_and_minus_1_at_midwinter() {
        assert!(season(MIDSUMMER) > 0.999);
        assert!(season(MIDWINTER) < -0.999);
    }

    #[test]
    fn days_are_long_in_summer_and_short_in_winter() {
        for account in 0..100 {
            let site = Site::new(Key::new(account));
            assert!((14.0..19.0).contains(&site.daylight_hours(MIDSUMMER)));
            assert!((5.0..10.0).contains(&site.daylight_hours(MIDWINTER)));
        }
    }

    #[test]
    fn the_afternoon_is_warmer_than_the_night() {
        let site = Site::new(Key::new(1));
        let mean_at = |hour: i64| {
            (0..365)
                .map(|day| site.outdoor_c((MIDWINTER + day) * DAY_MS + hour * HOUR_MS - site.offset_ms))
                .sum::<f64>()
                / 365.0
        };
        assert!(mean_at(15) - mean_at(3) > 6.0);
        assert!((0.0..20.0).contains(&mean_at(12)));
    }
}
