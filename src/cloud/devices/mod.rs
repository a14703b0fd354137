//! The devices and their values: functions of the seed, the device and the time.

mod energy;
mod fleet;
mod kind;
mod place;
mod reading;
mod site;
mod values;

pub(super) use energy::energy;
pub(super) use fleet::{Device, Fleet};
pub(super) use kind::Kind;
pub(super) use reading::{report, timestamp};
pub(super) use site::Site;
pub(super) use values::{Values, values};
