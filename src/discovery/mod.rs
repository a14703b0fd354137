//! Discovery: lists a connection's devices as its cloud has them, because a user asks for it or the list is due.

mod discover;
mod due;
mod id_prefix;

pub use discover::{DiscoverError, DiscoverRequest, ListTrial, discover, try_list};
pub use due::{discover_due, run};
pub use id_prefix::id_prefix;
