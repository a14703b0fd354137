//! The values that each kind of device measures.

use serde::Serialize;

use super::energy::energy;
use super::fleet::Device;
use super::kind::Kind;
use super::site::{Local, Site};
use crate::cloud::rng::Key;

/// The `values` of a reading, by kind. Units are in the names.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Values {
    Thermostat {
        temperature_c: f64,
        target_c: f64,
        humidity_pct: i64,
        heating: bool,
        battery_pct: i64,
    },
    SolarInverter {
        power_w: i64,
        dc_voltage_v: f64,
        temperature_c: f64,
        status: &'static str,
    },
    AirMonitor {
        co2_ppm: i64,
        temperature_c: f64,
        humidity_pct: i64,
        voc_ppb: i64,
        pm25_ugm3: f64,
    },
    WeatherStation {
        temperature_c: f64,
        humidity_pct: i64,
        pressure_hpa: f64,
        wind_ms: f64,
        rain_mm_h: f64,
        battery_pct: i64,
    },
    PowerMeter {
        power_w: i64,
        voltage_v: f64,
        current_a: f64,
    },
}

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;

const COMFORT: u64 = 40;
const ROOM: u64 = 41;
const SENSOR: u64 = 42;
const MOISTURE: u64 = 43;
const AIR: u64 = 44;
const DUST: u64 = 45;
const GRID: u64 = 46;
const BATTERY: u64 = 47;

/// What the device measured at an instant.
pub(crate) fn values(device: &Device, at_ms: i64) -> Values {
    let site = Site::new(device.site);
    match device.kind {
        Kind::Thermostat => thermostat(device, &site, at_ms),
        Kind::SolarInverter => solar_inverter(device, &site, at_ms),
        Kind::AirMonitor => air_monitor(device, &site, at_ms),
        Kind::WeatherStation => weather_station(device, &site, at_ms),
        Kind::PowerMeter => power_meter(device, &site, at_ms),
    }
}

fn thermostat(device: &Device, site: &Site, at_ms: i64) -> Values {
    let Local { hour, .. } = site.local(at_ms);
    let comfort_c = (device.key.with(COMFORT).between(19.0, 22.5) * 2.0).round() / 2.0;
    let target_c = if (6.0..22.0).contains(&hour) { comfort_c } else { comfort_c - 3.0 };
    let room_c = room_c(device, site, at_ms, comfort_c);
    Values::Thermostat {
        temperature_c: rounded(room_c, 1),
        target_c,
        humidity_pct: humidity_pct(device, at_ms),
        heating: room_c < target_c && site.outdoor_c(at_ms) < 16.0,
        battery_pct: battery_pct(device, at_ms),
    }
}

fn solar_inverter(device: &Device, site: &Site, at_ms: i64) -> Values {
    let power_w = energy(device, site, at_ms).map_or(0.0, |it| it.power_w);
    let producing = power_w >= 1.0;
    let dc_voltage_v =
        if producing { 395.0 + 12.0 * device.key.with(GRID).wave(at_ms, 5 * MINUTE_MS) } else { 0.0 };
    Values::SolarInverter {
        power_w: power_w as i64,
        dc_voltage_v: rounded(dc_voltage_v, 1),
        // The electronics warm up with power.
        temperature_c: rounded(site.outdoor_c(at_ms) + 4.0 + power_w / 400.0, 1),
        status: if producing { "producing" } else { "sleeping" },
    }
}

fn air_monitor(device: &Device, site: &Site, at_ms: i64) -> Values {
    let people = occupancy(device, site.local(at_ms));
    let (breathing, drift) = (device.key.with(AIR).between(350.0, 900.0), device.key.with(AIR).with(1));
    let co2 = 430.0 + breathing * people + (20.0 + 60.0 * people) * (1.0 + drift.wave(at_ms, 12 * MINUTE_MS));
    let dust = 6.5
        + 4.5 * device.key.with(DUST).wave(at_ms, 3 * HOUR_MS)
        + device.key.with(SENSOR).wave(at_ms, MINUTE_MS);
    Values::AirMonitor {
        co2_ppm: co2 as i64,
        temperature_c: rounded(room_c(device, site, at_ms, 21.0) + 0.6 * people, 1),
        humidity_pct: humidity_pct(device, at_ms) + (4.0 * people) as i64,
        voc_ppb: (90.0 + 0.3 * (co2 - 430.0) + 35.0 * drift.with(1).wave(at_ms, 40 * MINUTE_MS)) as i64,
        pm25_ugm3: rounded(dust.max(0.4), 1),
    }
}

fn weather_station(device: &Device, site: &Site, at_ms: i64) -> Values {
    let temperature_c = site.outdoor_c(at_ms) + 0.4 * device.key.with(SENSOR).wave(at_ms, 2 * MINUTE_MS);
    let Local { hour, .. } = site.local(at_ms);
    let (rain_mm_h, moisture) = (site.rain_mm_h(at_ms), device.site.with(MOISTURE).wave(at_ms, 9 * HOUR_MS));
    // Humidity is lowest when it is warmest.
    let of_day = 12.0 * ((hour - 15.0) / 24.0 * std::f64::consts::TAU).cos();
    let humidity = 70.0 - of_day + 12.0 * moisture + 4.0 * rain_mm_h;
    Values::WeatherStation {
        temperature_c: rounded(temperature_c, 1),
        humidity_pct: humidity.clamp(18.0, 100.0) as i64,
        pressure_hpa: rounded(site.pressure_hpa(at_ms), 1),
        wind_ms: rounded(site.wind_ms(at_ms), 1),
        rain_mm_h: rounded(rain_mm_h, 1),
        battery_pct: battery_pct(device, at_ms),
    }
}

fn power_meter(device: &Device, site: &Site, at_ms: i64) -> Values {
    let power_w = energy(device, site, at_ms).map_or(0.0, |it| it.power_w);
    let voltage_v = 230.0 + 4.0 * device.site.with(GRID).wave(at_ms, 10 * MINUTE_MS);
    Values::PowerMeter {
        power_w: power_w as i64,
        voltage_v: rounded(voltage_v, 1),
        current_a: rounded(power_w / voltage_v, 2),
    }
}

/// Room temperature: follows the heating with a delay, and rises with the outdoor temperature in summer.
fn room_c(device: &Device, site: &Site, at_ms: i64, comfort_c: f64) -> f64 {
    let Local { hour, .. } = site.local(at_ms);
    // Warms up over two hours in the morning, cools over five in the evening, across midnight.
    let cooling_hours = (hour - 22.0).rem_euclid(24.0);
    let warmth = if (6.0..22.0).contains(&hour) {
        ((hour - 6.0) / 2.0).min(1.0)
    } else {
        (1.0 - cooling_hours / 5.0).max(0.0)
    };
    let summer = ((site.outdoor_c(at_ms) - 18.0) * 0.45).max(0.0);
    let (room, sensor) = (device.key.with(ROOM), device.key.with(SENSOR));
    comfort_c - 2.2 * (1.0 - warmth)
        + summer
        + 0.4 * room.wave(at_ms, 25 * MINUTE_MS)
        + 0.12 * sensor.wave(at_ms, 40 * SECOND_MS)
}

fn humidity_pct(device: &Device, at_ms: i64) -> i64 {
    let moisture = device.key.with(MOISTURE);
    (46.0 + 8.0 * moisture.wave(at_ms, 7 * HOUR_MS) + 2.0 * moisture.with(1).wave(at_ms, 8 * MINUTE_MS))
        as i64
}

/// Occupancy of the room, `0.0..=1.0`: a bell curve around the place's busy hour, wrapping at midnight.
fn occupancy(device: &Device, Local { hour, .. }: Local) -> f64 {
    let distance_h = (hour - device.place.busy_hour + 12.0).rem_euclid(24.0) - 12.0;
    (-(distance_h / 3.2).powi(2)).exp()
}

/// Falls from full to nearly empty over the battery's life, then starts again: it was replaced.
fn battery_pct(device: &Device, at_ms: i64) -> i64 {
    let battery: Key = device.key.with(BATTERY);
    let life_ms = battery.between(250.0, 700.0) * 24.0 * HOUR_MS as f64;
    let worn = (at_ms as f64 / life_ms + battery.with(1).unit()).rem_euclid(1.0);
    (100.0 - 94.0 * worn) as i64
}

fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    // Adding zero turns −0.0, which prints with its sign, into 0.0.
    (value * scale).round() / scale + 0.0
}

#[cfg(test)]
mod tests {
    use super::super::fleet::Fleet;
    use super::*;

    /// 2026-01-01T00:00:00Z
    const START_MS: i64 = 1_767_225_600_000;

    /// Every eleven minutes of a year, so that all times of day occur.
    fn year() -> impl Iterator<Item = i64> {
        (0..365 * 24 * 60 / 11).map(|n| START_MS + n * 11 * MINUTE_MS)
    }

    #[test]
    fn values_stay_plausible_for_a_year() {
        let fleet = Fleet::new(11, 20);
        for device in (0..20).map(|index| fleet.device(1, index)) {
            for at_ms in year() {
                match values(&device, at_ms) {
                    Values::Thermostat { temperature_c, target_c, humidity_pct, battery_pct, .. } => {
                        assert!((14.0..33.0).contains(&temperature_c), "{temperature_c}");
                        assert!((16.0..=22.5).contains(&target_c), "{target_c}");
                        assert!((30..65).contains(&humidity_pct) && (5..=100).contains(&battery_pct));
                    }
                    Values::SolarInverter { power_w, temperature_c, .. } => {
                        assert!((0..11_000).contains(&power_w) && (-25.0..75.0).contains(&temperature_c));
                    }
                    Values::AirMonitor { co2_ppm, voc_ppb, pm25_ugm3, .. } => {
                        assert!((400..1_600).contains(&co2_ppm) && (30..700).contains(&voc_ppb));
                        assert!((0.0..20.0).contains(&pm25_ugm3));
                    }
                    Values::WeatherStation { temperature_c, humidity_pct, pressure_hpa, wind_ms, .. } => {
                        assert!((-25.0..45.0).contains(&temperature_c) && (10..=100).contains(&humidity_pct));
                        assert!((990.0..1_040.0).contains(&pressure_hpa) && (0.0..15.0).contains(&wind_ms));
                    }
                    Values::PowerMeter { power_w, voltage_v, .. } => {
                        assert!((0..3_000).contains(&power_w) && (220.0..240.0).contains(&voltage_v));
                    }
                }
            }
        }
    }

    #[test]
    fn co2_is_higher_at_the_busy_hour() {
        let device = (0..40)
            .map(|index| Fleet::new(2, 40).device(0, index))
            .find(|it| it.kind == Kind::AirMonitor)
            .unwrap();
        let site = Site::new(device.site);
        let co2_at = |hour: f64| {
            let midnight_ms = START_MS - (site.local(START_MS).hour * HOUR_MS as f64) as i64;
            match values(&device, midnight_ms + (hour.rem_euclid(24.0) * HOUR_MS as f64) as i64) {
                Values::AirMonitor { co2_ppm, .. } => co2_ppm,
                other => panic!("{other:?}"),
            }
        };
        assert!(co2_at(device.place.busy_hour) > co2_at(device.place.busy_hour + 12.0) + 250);
    }

    #[test]
    fn temperature_changes_little_within_a_second() {
        let device = Fleet::new(2, 40).device(0, 0);
        for at_ms in year() {
            let (
                Values::Thermostat { temperature_c: one, .. },
                Values::Thermostat { temperature_c: two, .. },
            ) = (values(&device, at_ms), values(&device, at_ms + SECOND_MS))
            else {
                panic!("not a thermostat")
            };
            assert!((one - two).abs() < 0.15, "{one} then {two}");
        }
    }
}
