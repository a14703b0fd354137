//! Incidents: a provider that fails for many of its connections at once. That is the provider's fault, and changes the
//! state of no connection and no job. While an incident lasts, a few calls probe the provider.
//!
//! Redis decides, by what all processes note there; Postgres keeps a row per incident.

mod monitor;
mod store;

pub use monitor::{Change, Ended, Monitor, Rules};
pub use store::{close, lasting, open};
