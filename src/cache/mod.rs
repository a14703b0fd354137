//! The cache: a device's latest readings in one hash, each under the fence of the call that wrote it. Whoever listens
//! is told what changed.

mod changes;
mod store;

pub use changes::{Change, ChangeId, Changed, Changes, Ended, NoChangeId};
pub use store::{Cache, META, Slot, Stored};
