//! Jobs: the preference for each resource of each device, its status, and the outbox that carries changes to the
//! schedule.

mod bulk;
pub mod defaults;
pub mod job_status;
pub mod outbox;
pub mod refreshes;
pub mod schedules;
mod stored;
pub mod turns;
mod wanted;
mod windows;

pub use bulk::{Changed, JobFilter, Matched, change_all, matching};
pub use stored::{Asked, StoredJob, by_id, last_id, of_connections, page};
pub use wanted::{DeviceRef, JobPatch, Precondition, device_of, set};
pub use windows::{InForce, Windows};
