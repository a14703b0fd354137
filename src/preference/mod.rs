//! What owners asked: tenants, keys, connections, devices, jobs, and the outbox that carries it to the schedule.

pub mod connections;
pub mod devices;
pub mod discovered;
pub mod find;
pub mod import;
pub mod inventory;
pub mod job_status;
pub mod jobs;
pub mod keys;
pub mod learned;
pub mod outbox;
pub mod quota_inputs;
pub mod schedules;
pub mod secrets;
pub mod tenants;
