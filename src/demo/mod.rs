//! `paceline demo`: everything at once, on private servers and against a simulated cloud that means its quota.

mod cloud;
mod fleet;
mod report;
mod run;

pub use run::{DemoError, DemoOptions, run};
