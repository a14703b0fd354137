//! Jobs: the preference for each resource of each device, its status, and the outbox that carries changes to the
//! schedule.

pub mod job_status;
pub mod outbox;
pub mod schedules;
mod wanted;

pub use wanted::{DeviceRef, JobPatch, StoredJob, by_id, device_of, last_id, page, set};
