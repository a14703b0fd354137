//! The names of values that mean the same at every provider, so that a dashboard needs no code per provider.

use super::Quantity as Q;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A number of this quantity within a plausible range, both ends included.
    Number(Q, f64, f64),
    /// `true` or `false`.
    Bool,
    /// A text.
    Text,
}

/// A name of the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// The name.
    pub name: &'static str,
    /// What people see.
    pub label: &'static str,
    /// What it is.
    pub kind: Kind,
}

const fn number(name: &'static str, label: &'static str, quantity: Q, min: f64, max: f64) -> Term {
    Term { name, label, kind: Kind::Number(quantity, min, max) }
}

const fn bool(name: &'static str, label: &'static str) -> Term {
    Term { name, label, kind: Kind::Bool }
}

const fn text(name: &'static str, label: &'static str) -> Term {
    Term { name, label, kind: Kind::Text }
}

/// Every name. Ranges are what instruments of homes, weather and vehicles can show: anything else is a fault of a
/// sensor or a code of its cloud.
pub const VOCABULARY: &[Term] = &[
    number("temperature_c", "Temperature", Q::Temperature, -90.0, 120.0),
    number("outdoor_temperature_c", "Outdoor temperature", Q::Temperature, -90.0, 70.0),
    number("feels_like_c", "Feels like", Q::Temperature, -90.0, 90.0),
    number("dew_point_c", "Dew point", Q::Temperature, -90.0, 60.0),
    number("setpoint_c", "Setpoint", Q::Temperature, -30.0, 100.0),
    number("setpoint_heat_c", "Heating setpoint", Q::Temperature, -30.0, 100.0),
    number("setpoint_cool_c", "Cooling setpoint", Q::Temperature, -30.0, 100.0),
    number("water_temperature_c", "Water temperature", Q::Temperature, -30.0, 120.0),
    number("water_setpoint_c", "Water setpoint", Q::Temperature, 0.0, 100.0),
    number("humidity_pct", "Humidity", Q::Share, 0.0, 100.0),
    number("outdoor_humidity_pct", "Outdoor humidity", Q::Share, 0.0, 100.0),
    number("setpoint_humidity_pct", "Humidity setpoint", Q::Share, 0.0, 100.0),
    number("pressure_hpa", "Pressure", Q::Pressure, 300.0, 1_100.0),
    number("co2_ppm", "CO₂", Q::Concentration, 0.0, 50_000.0),
    number("voc_ppb", "Volatile organic compounds", Q::TraceConcentration, 0.0, 100_000.0),
    number("pm1_ugm3", "PM1", Q::MassConcentration, 0.0, 5_000.0),
    number("pm25_ugm3", "PM2.5", Q::MassConcentration, 0.0, 5_000.0),
    number("pm10_ugm3", "PM10", Q::MassConcentration, 0.0, 5_000.0),
    number("noise_db", "Noise", Q::SoundLevel, 0.0, 150.0),
    number("iaq", "Air quality index", Q::Index, 0.0, 1_000.0),
    number("radon_bqm3", "Radon", Q::Radioactivity, 0.0, 100_000.0),
    number("illuminance_lux", "Illuminance", Q::Illuminance, 0.0, 200_000.0),
    number("uv_index", "UV index", Q::Index, 0.0, 30.0),
    number("solar_wm2", "Solar irradiance", Q::Irradiance, 0.0, 2_000.0),
    number("rain_mm", "Rain", Q::Depth, 0.0, 2_000.0),
    number("rain_1h_mm", "Rain, one hour", Q::Depth, 0.0, 2_000.0),
    number("rain_24h_mm", "Rain, one day", Q::Depth, 0.0, 2_000.0),
    number("rain_rate_mmh", "Rain rate", Q::DepthRate, 0.0, 1_000.0),
    number("wind_speed_mps", "Wind", Q::Speed, 0.0, 120.0),
    number("wind_gust_mps", "Gusts", Q::Speed, 0.0, 120.0),
    number("wind_direction_deg", "Wind direction", Q::Angle, 0.0, 360.0),
    number("wind_gust_direction_deg", "Direction of gusts", Q::Angle, 0.0, 360.0),
    number("power_w", "Power", Q::Power, -1e8, 1e8),
    number("solar_power_w", "Solar power", Q::Power, -1e8, 1e8),
    number("grid_power_w", "Grid power", Q::Power, -1e8, 1e8),
    number("load_power_w", "Load", Q::Power, -1e8, 1e8),
    number("storage_power_w", "Storage power", Q::Power, -1e8, 1e8),
    number("charger_power_w", "Charging power", Q::Power, -1e8, 1e8),
    number("energy_wh", "Energy", Q::Energy, 0.0, 1e13),
    number("energy_today_wh", "Energy today", Q::Energy, 0.0, 1e13),
    number("energy_month_wh", "Energy this month", Q::Energy, 0.0, 1e13),
    number("energy_year_wh", "Energy this year", Q::Energy, 0.0, 1e13),
    number("voltage_v", "Voltage", Q::Voltage, -2_000.0, 200_000.0),
    number("current_a", "Current", Q::Current, -10_000.0, 10_000.0),
    number("frequency_hz", "Frequency", Q::Frequency, 0.0, 1_000.0),
    number("battery_pct", "Battery", Q::Share, 0.0, 100.0),
    bool("battery_low", "Battery low"),
    number("range_m", "Range", Q::Length, 0.0, 2e6),
    number("odometer_m", "Odometer", Q::Length, 0.0, 1e10),
    number("speed_mps", "Speed", Q::Speed, 0.0, 400.0),
    bool("on", "On"),
    bool("open", "Open"),
    bool("locked", "Locked"),
    bool("motion", "Motion"),
    bool("leak", "Leak"),
    bool("smoke", "Smoke"),
    bool("charging", "Charging"),
    bool("window_open", "Window open"),
    number("heating_pct", "Heating", Q::Share, 0.0, 100.0),
    number("valve_pct", "Valve", Q::Share, 0.0, 100.0),
    number("brightness_pct", "Brightness", Q::Share, 0.0, 100.0),
    number("position_pct", "Position", Q::Share, 0.0, 100.0),
    text("mode", "Mode"),
    text("fan_mode", "Fan mode"),
    text("state", "State"),
    text("alarm", "Alarm"),
    number("latitude_deg", "Latitude", Q::Angle, -90.0, 90.0),
    number("longitude_deg", "Longitude", Q::Angle, -180.0, 180.0),
    number("rssi_dbm", "Signal", Q::SignalStrength, -200.0, 50.0),
    number("weight_kg", "Weight", Q::Mass, 0.0, 700.0),
];

/// The quantity that the end of a name says: `cooler_temperature_c` is a temperature.
const SUFFIXES: &[(&str, Q)] = &[
    ("_c", Q::Temperature),
    ("_pct", Q::Share),
    ("_hpa", Q::Pressure),
    ("_ppm", Q::Concentration),
    ("_ppb", Q::TraceConcentration),
    ("_ugm3", Q::MassConcentration),
    ("_bqm3", Q::Radioactivity),
    ("_db", Q::SoundLevel),
    ("_lux", Q::Illuminance),
    ("_wm2", Q::Irradiance),
    ("_mm", Q::Depth),
    ("_mmh", Q::DepthRate),
    ("_mps", Q::Speed),
    ("_deg", Q::Angle),
    ("_w", Q::Power),
    ("_wh", Q::Energy),
    ("_v", Q::Voltage),
    ("_a", Q::Current),
    ("_hz", Q::Frequency),
    ("_m", Q::Length),
    ("_dbm", Q::SignalStrength),
    ("_kg", Q::Mass),
];

/// The term of this name.
pub fn find(name: &str) -> Option<&'static Term> {
    // Asked for every value of every response.
    static BY_NAME: LazyLock<HashMap<&str, &Term>> =
        LazyLock::new(|| VOCABULARY.iter().map(|term| (term.name, term)).collect());
    BY_NAME.get(name).copied()
}

/// The quantity of a name that is not in the vocabulary, by its suffix.
pub fn quantity_of_suffix(name: &str) -> Option<Q> {
    SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, quantity)| *quantity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_with_the_suffix_of_their_quantity() {
        for term in VOCABULARY {
            assert_eq!(VOCABULARY.iter().filter(|other| other.name == term.name).count(), 1, "{}", term.name);
            match term.kind {
                Kind::Number(Q::Index, min, max) => assert!(min < max),
                Kind::Number(quantity, min, max) => {
                    assert!(min < max);
                    assert_eq!(quantity_of_suffix(term.name), Some(quantity), "{}", term.name);
                }
                Kind::Bool | Kind::Text => assert_eq!(quantity_of_suffix(term.name), None, "{}", term.name),
            }
        }
    }
}
