//! Commands that run something themselves: the service, the demo, the simulated cloud, a migration.

pub(super) mod cloud;
pub(super) mod demo;
pub(super) mod migrate;
pub(super) mod serve;
