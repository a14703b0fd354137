//! Tenants, their API keys, and their logins of Postgres.

pub mod idempotency;
pub mod keys;
pub mod room;
pub mod sql_readers;
mod tenant;

pub use tenant::{TenantError, TenantRow, Weight, WeightError, ensure, find, list, set_weight};
