//! The cache: a device's latest readings in one hash, each under the fence of the call that wrote it.

mod store;

pub use store::{Cache, META, Slot};
