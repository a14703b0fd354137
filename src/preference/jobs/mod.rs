//! Jobs: what is wanted of each resource of each device, how it stands, and the outbox that tells the schedule.

pub mod job_status;
pub mod outbox;
pub mod schedules;
mod wanted;

pub use wanted::{DeviceRef, JobPatch, StoredJob, by_id, last_id, page, set, subject};
