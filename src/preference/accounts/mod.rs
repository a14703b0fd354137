//! Accounts at providers: their connections, secrets and plans.

pub mod activation;
pub mod connections;
pub mod learned;
mod name;
pub mod quota_inputs;
pub mod refusals;
pub mod secrets;
pub mod standing;

pub use name::connection_name;
