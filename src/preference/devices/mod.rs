//! Devices: added one by one, by the file or by the cloud's own list; found and listed.

mod batch;
pub mod discovered;
pub mod discovery_claim;
pub mod find;
pub mod import;
pub mod inventory;

pub use batch::{NewDevice, TenantConnection, add, add_in, jobs_of};
