//! `paceline demo`: all roles on private servers, with a simulated cloud that enforces its quota.

mod cloud;
mod fleet;
mod report;
mod run;

pub use run::{DemoError, DemoOptions, run};
