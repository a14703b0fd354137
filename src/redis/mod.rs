//! Plumbing to Redis: every key's name, how a script is run, and one connection that comes back by itself.

mod connect;
mod keys;
mod script;

pub use connect::{Redis, RedisError, connect};
pub use keys::Keys;
pub use script::Script;
