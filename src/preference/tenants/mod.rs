//! Tenants and their API keys.

pub mod keys;
mod tenant;

pub use tenant::{TenantError, TenantRow, Weight, WeightError, ensure, find, list, set_weight};
