//! The requests to a provider, and how its responses are read and judged.

mod bootstrap;
mod discovery;
mod kinds;
mod pages;
mod resource;
mod rule;

pub(super) use bootstrap::BootstrapTable;
pub use bootstrap::{BOOTSTRAP, Bootstrap};
pub(super) use discovery::DiscoveryTable;
pub use discovery::{DISCOVERY, Discovery};
pub use kinds::{Format, Method, Missing, Unit};
pub use pages::{PageBy, Pages};
pub use resource::{Probe, Resource};
pub use rule::{Rule, RuleOutcome, Wait, WaitUnit};
