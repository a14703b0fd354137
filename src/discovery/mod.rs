//! Discovery: lists a connection's devices as its cloud has them, because a user asks for it or the list is due.

mod discover;
mod due;

pub use discover::{DiscoverError, DiscoverRequest, discover};
pub use due::{discover_due, run};
