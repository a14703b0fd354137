//! The cache: a device's latest readings in one hash, each under the fence of the call that wrote it. Whoever listens
//! is told what changed.

mod changes;
mod ended;
mod store;

pub use changes::{Change, ChangeId, Changed, Changes, NoChangeId};
pub use ended::Ended;
pub use store::{Cache, META, Slot, Stored};
