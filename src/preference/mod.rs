//! What users set: tenants, keys, connections, devices, jobs, webhooks, and the outbox that carries changes to the
//! schedule.

mod accounts;
pub mod devices;
pub mod jobs;
pub mod tenants;
pub mod webhooks;

pub use accounts::{
    activation, connection_name, connections, learned, quota_inputs, refusals, secrets, standing,
};
pub use devices::{discovered, discovery_claim, find, import, inventory, removal};
pub use jobs::{job_status, outbox, refreshes, schedules};
pub use tenants::{idempotency, keys, sql_readers};
