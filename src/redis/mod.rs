//! Plumbing to Redis: key names, scripts, connections that are replaced by themselves, and what the server must be.

mod address;
pub mod agreed;
mod cluster;
mod connect;
mod keys;
mod link;
mod script;
mod server;

pub use ::redis::Msg;
pub use connect::{Redis, RedisError, connect};
pub use keys::Keys;
pub use link::{Link, Subscription};
pub use script::{Module, SHARED, Script};
pub use server::{REDIS_MIN, Unsuitable, VALKEY_MIN};
