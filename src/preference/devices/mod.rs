//! Devices: added one by one, by the file or by the cloud's own list; found, listed and removed.

mod batch;
mod device_list;
pub mod discovered;
pub mod discovery_claim;
pub mod find;
pub mod import;
pub mod inventory;
pub mod naming;
pub mod removal;
mod room;

pub use batch::{NewDevice, Origin, TenantConnection, add, add_in, jobs_of};
