//! Incidents: a provider fails for many of its connections at once. The fault is the provider's, so no connection and
//! no job changes its state. While an incident lasts, a few calls probe the provider.
//!
//! Redis decides, by what all processes note there; Postgres keeps a row per incident.

mod monitor;
mod store;

pub use monitor::{Change, Health, Monitor, Rules};
pub use store::{close, lasting, open};
