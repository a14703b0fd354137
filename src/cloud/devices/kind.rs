//! Kinds of devices.

use serde::Serialize;

/// The kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Thermostat,
    SolarInverter,
    AirMonitor,
    WeatherStation,
    PowerMeter,
}

impl Kind {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Kind::Thermostat => "th",
            Kind::SolarInverter => "pv",
            Kind::AirMonitor => "am",
            Kind::WeatherStation => "ws",
            Kind::PowerMeter => "pm",
        }
    }

    pub(super) fn models(self) -> &'static [&'static str] {
        match self {
            Kind::Thermostat => &["Meadow Dial 2", "Meadow Dial 3", "Meadow Valve"],
            Kind::SolarInverter => &["Sunfold 5K", "Sunfold 8K", "Sunfold 10K Hybrid"],
            Kind::AirMonitor => &["Meadow Breathe", "Meadow Breathe Pro"],
            Kind::WeatherStation => &["Meadow Vane", "Meadow Vane Mini"],
            Kind::PowerMeter => &["Meadow Watt 1P", "Meadow Watt 3P"],
        }
    }
}
