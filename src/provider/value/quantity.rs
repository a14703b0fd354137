//! Quantities, each with the one unit that readings have, and the units that responses may have instead.

use std::borrow::Cow;

/// What a number measures. Readings have it in one unit, [`Quantity::symbol`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// °C.
    Temperature,
    /// %.
    Share,
    /// hPa.
    Pressure,
    /// ppm.
    Concentration,
    /// ppb.
    TraceConcentration,
    /// µg/m³.
    MassConcentration,
    /// Bq/m³.
    Radioactivity,
    /// dB.
    SoundLevel,
    /// lx.
    Illuminance,
    /// W/m².
    Irradiance,
    /// mm.
    Depth,
    /// mm/h.
    DepthRate,
    /// m/s.
    Speed,
    /// °.
    Angle,
    /// W.
    Power,
    /// Wh.
    Energy,
    /// V.
    Voltage,
    /// A.
    Current,
    /// Hz.
    Frequency,
    /// m.
    Length,
    /// dBm.
    SignalStrength,
    /// kg.
    Mass,
    /// A number without a unit.
    Index,
}

/// From another unit: multiply by `factor`, then add `offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conversion {
    /// The factor.
    pub factor: f64,
    /// The offset, in the unit of readings.
    pub offset: f64,
}

impl Conversion {
    /// The number in the unit of readings.
    pub fn apply(self, number: f64) -> f64 {
        number * self.factor + self.offset
    }
}

impl Quantity {
    /// The unit of readings.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Temperature => "°C",
            Self::Share => "%",
            Self::Pressure => "hPa",
            Self::Concentration => "ppm",
            Self::TraceConcentration => "ppb",
            Self::MassConcentration => "µg/m³",
            Self::Radioactivity => "Bq/m³",
            Self::SoundLevel => "dB",
            Self::Illuminance => "lx",
            Self::Irradiance => "W/m²",
            Self::Depth => "mm",
            Self::DepthRate => "mm/h",
            Self::Speed => "m/s",
            Self::Angle => "°",
            Self::Power => "W",
            Self::Energy => "Wh",
            Self::Voltage => "V",
            Self::Current => "A",
            Self::Frequency => "Hz",
            Self::Length => "m",
            Self::SignalStrength => "dBm",
            Self::Mass => "kg",
            Self::Index => "",
        }
    }

    /// How a number in this unit is converted; none if the unit does not belong to the quantity.
    pub fn conversion(self, unit: &str) -> Option<Conversion> {
        let unit = &*one_spelling(unit);
        let (factor, offset) = match (self, unit) {
            _ if unit == self.symbol() => (1.0, 0.0),
            (Self::Temperature, "C" | "c" | "celsius" | "Celsius" | "CELSIUS") => (1.0, 0.0),
            (Self::Temperature, "F" | "f" | "°F" | "fahrenheit" | "Fahrenheit" | "FAHRENHEIT") => {
                (5.0 / 9.0, -160.0 / 9.0)
            }
            (Self::Temperature, "K") => (1.0, -273.15),
            (Self::Share, "ratio") => (100.0, 0.0),
            (Self::Share, "percent" | "pct" | "%RH") => (1.0, 0.0),
            (Self::Pressure, "hpa" | "mbar" | "mBar" | "MBAR") => (1.0, 0.0),
            (Self::Pressure, "Pa") => (0.01, 0.0),
            (Self::Pressure, "kPa") => (10.0, 0.0),
            (Self::Pressure, "MPa") => (10_000.0, 0.0),
            (Self::Pressure, "bar") => (1_000.0, 0.0),
            (Self::Pressure, "cbar") => (10.0, 0.0),
            (Self::Pressure, "psi") => (68.947_572_93, 0.0),
            (Self::Pressure, "inHg") => (33.863_886_67, 0.0),
            (Self::Pressure, "mmHg") => (1.333_223_87, 0.0),
            (Self::Concentration, "ppb") => (0.001, 0.0),
            (Self::TraceConcentration, "ppm") => (1_000.0, 0.0),
            (Self::MassConcentration, "mg/m³") => (1_000.0, 0.0),
            (Self::Radioactivity, "pCi/L" | "pCi/l") => (37.0, 0.0),
            (Self::SoundLevel, "dBA" | "dB(A)" | "db") => (1.0, 0.0),
            (Self::Illuminance, "lux" | "Lux") => (1.0, 0.0),
            (Self::Depth, "cm") => (10.0, 0.0),
            (Self::Depth, "m") => (1_000.0, 0.0),
            (Self::Depth, "in") => (25.4, 0.0),
            (Self::DepthRate, "in/h" | "in/hr") => (25.4, 0.0),
            (Self::DepthRate, "mm/d") => (1.0 / 24.0, 0.0),
            (Self::DepthRate, "in/d") => (25.4 / 24.0, 0.0),
            (Self::Speed, "km/h" | "kph" | "kmh") => (1.0 / 3.6, 0.0),
            (Self::Speed, "mph") => (0.447_04, 0.0),
            (Self::Speed, "ft/s") => (0.304_8, 0.0),
            (Self::Speed, "kn" | "kt" | "knots") => (1_852.0 / 3_600.0, 0.0),
            (Self::Angle, "deg") => (1.0, 0.0),
            (Self::Angle, "rad") => (180.0 / std::f64::consts::PI, 0.0),
            (Self::Power, "mW") => (0.001, 0.0),
            (Self::Power, "kW") => (1_000.0, 0.0),
            (Self::Power, "MW") => (1_000_000.0, 0.0),
            (Self::Power, "GW") => (1_000_000_000.0, 0.0),
            (Self::Energy, "kWh") => (1_000.0, 0.0),
            (Self::Energy, "MWh") => (1_000_000.0, 0.0),
            (Self::Energy, "GWh") => (1_000_000_000.0, 0.0),
            (Self::Energy, "J") => (1.0 / 3_600.0, 0.0),
            (Self::Energy, "kJ") => (1.0 / 3.6, 0.0),
            (Self::Energy, "MJ") => (1_000.0 / 3.6, 0.0),
            (Self::Energy, "GJ") => (1_000_000.0 / 3.6, 0.0),
            (Self::Voltage, "mV") => (0.001, 0.0),
            (Self::Voltage, "kV") => (1_000.0, 0.0),
            (Self::Current, "mA") => (0.001, 0.0),
            (Self::Frequency, "kHz") => (1_000.0, 0.0),
            (Self::Length, "mm") => (0.001, 0.0),
            (Self::Length, "cm") => (0.01, 0.0),
            (Self::Length, "km") => (1_000.0, 0.0),
            (Self::Length, "in") => (0.025_4, 0.0),
            (Self::Length, "ft") => (0.304_8, 0.0),
            (Self::Length, "yd") => (0.914_4, 0.0),
            (Self::Length, "mi" | "mile" | "miles") => (1_609.344, 0.0),
            (Self::Mass, "g") => (0.001, 0.0),
            (Self::Mass, "oz") => (0.028_349_523, 0.0),
            (Self::Mass, "lb") => (0.453_592_37, 0.0),
            _ => return None,
        };
        Some(Conversion { factor, offset })
    }
}

/// A unit as [`Quantity::symbol`] spells it: responses have two characters for µ and several ways to write m³.
fn one_spelling(unit: &str) -> Cow<'_, str> {
    let unit = unit.trim();
    let is_plain = |unit: &str| unit.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'%');
    if is_plain(unit) {
        return Cow::Borrowed(unit);
    }
    let mut spelled: String = unit.chars().filter(|character| !character.is_whitespace()).collect();
    for (other, usual) in [
        ("\u{3bc}", "µ"),
        ("㎍", "µg"),
        ("㎥", "m³"),
        ("℃", "°C"),
        ("℉", "°F"),
        ("º", "°"),
        ("m^3", "m³"),
        ("m3", "m³"),
        ("m^2", "m²"),
        ("m2", "m²"),
    ] {
        if spelled.contains(other) {
            spelled = spelled.replace(other, usual);
        }
    }
    if let Some(rest) = spelled.strip_prefix("ug") {
        spelled = format!("µg{rest}");
    }
    Cow::Owned(spelled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_converted_to_that_of_readings() {
        for (quantity, unit, number, expected) in [
            (Quantity::Temperature, "F", 68.0, 20.0),
            (Quantity::Temperature, "°C", 20.0, 20.0),
            (Quantity::Temperature, "K", 293.15, 20.0),
            (Quantity::Pressure, "kPa", 101.3, 1_013.0),
            (Quantity::Pressure, "inHg", 29.92, 1_013.207),
            (Quantity::Energy, "kWh", 1.5, 1_500.0),
            (Quantity::Power, "mW", 500.0, 0.5),
            (Quantity::Share, "ratio", 0.25, 25.0),
            (Quantity::Speed, "mph", 10.0, 4.4704),
            (Quantity::Speed, "km/h", 36.0, 10.0),
            (Quantity::Length, "mi", 1.0, 1_609.344),
            (Quantity::Pressure, "bar", 2.4, 2_400.0),
            (Quantity::Pressure, "psi", 35.0, 2_413.165),
            (Quantity::Energy, "MJ", 3.6, 1_000.0),
            (Quantity::MassConcentration, "mg/m3", 0.5, 500.0),
        ] {
            let converted = quantity.conversion(unit).unwrap().apply(number);
            assert!((converted - expected).abs() < 0.001, "{number} {unit} = {converted}");
        }
        assert_eq!(Quantity::Temperature.conversion("kWh"), None);
        assert_eq!(Quantity::Index.conversion("°C"), None);
    }

    #[test]
    fn every_spelling_of_a_unit_is_the_same_unit() {
        let is_same = |quantity: Quantity, unit: &str| {
            quantity.conversion(unit) == Some(Conversion { factor: 1.0, offset: 0.0 })
        };
        for micro in ["\u{b5}g", "\u{3bc}g", "ug", "㎍"] {
            for cube in ["m³", "m3", "m^3", "㎥", " m³"] {
                let unit = format!("{micro}/{cube}");
                assert!(is_same(Quantity::MassConcentration, &unit), "{unit}");
            }
        }
        for (quantity, unit) in [
            (Quantity::Radioactivity, "Bq/m^3"),
            (Quantity::Irradiance, "W/m2"),
            (Quantity::Irradiance, "W/m^2"),
            (Quantity::Temperature, "℃"),
            (Quantity::Temperature, "ºC"),
            (Quantity::Temperature, " °C "),
        ] {
            assert!(is_same(quantity, unit), "{unit}");
        }
        assert_eq!(Quantity::Temperature.conversion("℉"), Quantity::Temperature.conversion("°F"));
    }
}
