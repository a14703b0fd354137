//! A simulated device cloud: devices from a seed, behind a strict quota.

mod chance;
mod energy;
mod fleet;
mod place;
mod reading;
mod site;
mod values;
