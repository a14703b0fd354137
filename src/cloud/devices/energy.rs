//! Energy counters computed in closed form, without stored sums.
//!
//! A counter is defined by its value at each midnight. A day's energy is the difference of two midnights, and within
//! the day it follows a curve from 0 to 1. So at any instant the total never falls, today's energy starts at zero, and
//! power is the slope of the same curve.

use std::f64::consts::{PI, TAU};

use super::fleet::Device;
use super::kind::Kind;
use super::site::{Local, Site, season_sum};
use crate::cloud::rng::Key;

/// The values of a counter at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Energy {
    /// The slope of the counter, with noise.
    pub(crate) power_w: f64,
    pub(crate) today_kwh: f64,
    pub(crate) total_kwh: f64,
}

const SIZE: u64 = 20;
const INSTALLED: u64 = 21;
const WEATHER: u64 = 22;
const NOISE: u64 = 23;

/// 1 January 2018 in days since 1970: the earliest installation.
const FIRST_INSTALLED_DAY: f64 = 17_532.0;

/// The counter of a solar inverter or power meter; `None` for other kinds.
pub(crate) fn energy(device: &Device, site: &Site, at_ms: i64) -> Option<Energy> {
    let local = site.local(at_ms);
    let busy_hour = device.place.busy_hour;
    let (counter, (share, slope)) = match device.kind {
        Kind::SolarInverter => {
            (Counter::solar(device), sun(local.hour, busy_hour, site.daylight_hours(local.day)))
        }
        Kind::PowerMeter => (Counter::load(device), demand(local.hour, busy_hour)),
        _ => return None,
    };
    let noise = 1.0 + 0.1 * device.key.with(NOISE).wave(at_ms, 45_000);
    Some(counter.read(local, share, slope, noise))
}

/// Energy per day of a unit-sized device: a mean, a seasonal swing and a random part of the day.
struct Counter {
    /// Factor of everything: kW of panels, kW of mean load.
    size: f64,
    mean_kwh: f64,
    swing_kwh: f64,
    /// Less than a quarter of the smallest day, or else the counter could fall.
    random_kwh: f64,
    random: Key,
    installed_day: i64,
}

impl Counter {
    /// The random part is that of the site: its devices share the weather.
    fn solar(device: &Device) -> Self {
        let size = device.key.with(SIZE).between(3.0, 10.0);
        Self::new(device, size, (3.0, 2.1, 0.4), device.site.with(WEATHER))
    }

    fn load(device: &Device) -> Self {
        let size = device.key.with(SIZE).between(0.15, 0.8);
        Self::new(device, size, (24.0, -5.0, 4.0), device.key.with(WEATHER))
    }

    fn new(
        device: &Device,
        size: f64,
        (mean_kwh, swing_kwh, random_kwh): (f64, f64, f64),
        random: Key,
    ) -> Self {
        let age_days = device.key.with(INSTALLED).between(0.0, 2_500.0);
        Self {
            size,
            mean_kwh,
            swing_kwh,
            random_kwh,
            random,
            installed_day: (FIRST_INSTALLED_DAY + age_days) as i64,
        }
    }

    fn read(&self, Local { day, .. }: Local, share: f64, slope: f64, noise: f64) -> Energy {
        let midnight_kwh = self.at_midnight(day);
        let day_kwh = self.at_midnight(day + 1) - midnight_kwh;
        Energy {
            power_w: day_kwh * slope * 1_000.0 * noise,
            today_kwh: day_kwh * share,
            total_kwh: midnight_kwh - self.at_midnight(self.installed_day) + day_kwh * share,
        }
    }

    /// The energy from 1970 to the start of a day, as if the device had been installed then.
    fn at_midnight(&self, day: i64) -> f64 {
        let steady = self.mean_kwh * day as f64 + self.swing_kwh * season_sum(day);
        self.size * (steady + self.random_kwh * self.random.with(day as u64).unit())
    }
}

/// Share of the day's sunlight up to this hour, and its slope per hour: a half sine from sunrise to sunset.
fn sun(hour: f64, noon: f64, daylight_hours: f64) -> (f64, f64) {
    let part = (hour - (noon - daylight_hours / 2.0)) / daylight_hours;
    if !(0.0..1.0).contains(&part) {
        return (part.clamp(0.0, 1.0).round(), 0.0);
    }
    ((1.0 - (PI * part).cos()) / 2.0, PI / 2.0 / daylight_hours * (PI * part).sin())
}

/// Share of the day's demand up to this hour, and its slope per hour: a peak at the busy hour, and a lower one twelve
/// hours away.
fn demand(hour: f64, busy_hour: f64) -> (f64, f64) {
    const DAILY: f64 = 0.5;
    const TWICE: f64 = 0.35;
    let angle = |hour: f64| (hour - busy_hour) / 24.0 * TAU;
    let ripple = |hour: f64| DAILY * angle(hour).sin() + TWICE / 2.0 * (2.0 * angle(hour)).sin();
    let share = hour / 24.0 + (ripple(hour) - ripple(0.0)) / TAU;
    (share, (1.0 + DAILY * angle(hour).cos() + TWICE * (2.0 * angle(hour)).cos()) / 24.0)
}

#[cfg(test)]
mod tests {
    use super::super::fleet::Fleet;
    use super::*;

    const MINUTE_MS: i64 = 60_000;
    /// 2026-01-01T00:00:00Z
    const START_MS: i64 = 1_767_225_600_000;

    fn year(index: u32) -> Vec<Energy> {
        let device = Fleet::new(4, 10).device(0, index);
        let site = Site::new(device.site);
        (0..366 * 48)
            .map(|half_hour| energy(&device, &site, START_MS + half_hour * 30 * MINUTE_MS).unwrap())
            .collect()
    }

    const INVERTER: u32 = 1;
    const METER: u32 = 4;

    #[test]
    fn total_never_falls_and_today_resets_once_per_day() {
        for readings in [year(INVERTER), year(METER)] {
            assert!(readings.windows(2).all(|pair| pair[1].total_kwh >= pair[0].total_kwh - 1e-9));
            let midnights = readings.windows(2).filter(|pair| pair[1].today_kwh < pair[0].today_kwh).count();
            assert!((365..=366).contains(&midnights), "{midnights}");
            assert!(readings.iter().all(|it| it.power_w >= 0.0 && it.today_kwh >= 0.0 && it.total_kwh > 0.0));
        }
    }

    #[test]
    fn power_is_the_slope_of_the_total() {
        for readings in [year(INVERTER), year(METER)] {
            let counted = readings.last().unwrap().total_kwh - readings[0].total_kwh;
            let integrated: f64 = readings.iter().map(|it| it.power_w * 0.5 / 1_000.0).sum();
            assert!((integrated / counted - 1.0).abs() < 0.02, "{integrated} against {counted}");
        }
    }

    #[test]
    fn solar_power_is_zero_at_night_and_within_the_panel_size() {
        let readings = year(INVERTER);
        let dark = readings.iter().filter(|it| it.power_w == 0.0).count() as f64 / readings.len() as f64;
        assert!((0.4..0.6).contains(&dark), "{dark}");
        let best = readings.iter().map(|it| it.power_w).fold(0.0, f64::max);
        assert!((1_500.0..10_000.0).contains(&best), "{best}");
    }

    #[test]
    fn thermostat_has_no_energy() {
        let device = Fleet::new(4, 10).device(0, 0);
        assert_eq!(energy(&device, &Site::new(device.site), START_MS), None);
    }
}
