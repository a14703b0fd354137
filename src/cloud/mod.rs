//! A simulated device cloud: devices from a seed, behind a strict quota.

mod chance;
mod energy;
mod failures;
mod fleet;
mod gate;
mod limit;
mod place;
mod reading;
mod referee;
mod seconds;
mod site;
mod sliding_log;
mod values;

pub use failures::Failures;
pub use limit::{BadLimit, Limit, Scope};
