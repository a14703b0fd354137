//! Plumbing to Redis: key names, scripts, one connection that reconnects by itself, and what the server must be.

pub mod agreed;
mod connect;
mod keys;
mod script;
mod server;

pub use connect::{Redis, RedisError, connect};
pub use keys::Keys;
pub use script::{Module, SHARED, Script};
pub use server::{REDIS_MIN, Unsuitable, VALKEY_MIN};
