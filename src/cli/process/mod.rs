//! Commands that run a process or prepare it: the service, the demo, the simulated cloud, the migration.

pub(super) mod cloud;
pub(super) mod demo;
pub(super) mod migrate;
pub(super) mod serve;
