//! Names of places where devices are installed, with their busy hours.

use super::kind::Kind;

/// A name as an owner would give it, and the hour of the day (local, 0–24) at which most is measured: people in a room,
/// sun on a roof, load on a circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) busy_hour: f64,
}

const fn at(name: &'static str, busy_hour: f64) -> Place {
    Place { name, busy_hour }
}

const ROOMS: &[Place] = &[
    at("Living room", 20.0),
    at("Kitchen", 18.5),
    at("Bedroom", 2.5),
    at("Office", 13.0),
    at("Hall", 17.5),
    at("Children's room", 0.5),
    at("Bathroom", 7.0),
    at("Attic", 15.0),
];

/// East roofs peak before noon, west roofs after.
const ROOFS: &[Place] = &[
    at("South roof", 12.0),
    at("East roof", 11.0),
    at("West roof", 13.0),
    at("Garage roof", 12.2),
    at("Carport", 12.5),
];

const OUTDOORS: &[Place] =
    &[at("Garden", 15.0), at("Balcony", 15.5), at("Roof terrace", 14.5), at("North wall", 16.0)];

const CIRCUITS: &[Place] = &[
    at("Main meter", 19.0),
    at("Heat pump", 6.5),
    at("EV charger", 1.0),
    at("Kitchen circuit", 18.5),
    at("Workshop", 10.5),
];

pub(crate) fn places(kind: Kind) -> &'static [Place] {
    match kind {
        Kind::Thermostat | Kind::AirMonitor => ROOMS,
        Kind::SolarInverter => ROOFS,
        Kind::WeatherStation => OUTDOORS,
        Kind::PowerMeter => CIRCUITS,
    }
}
