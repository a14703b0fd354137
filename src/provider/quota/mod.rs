//! A provider's limits, and where its responses report what is left of them.

pub mod adaptive;
mod amount;
mod calendar;
mod limit;
mod rate_limit;

pub use amount::{Amount, PLAN};
pub use calendar::{Calendar, Zone};
pub use limit::{Kind as QuotaKind, Limit, Quota, Window};
pub use rate_limit::RateLimit;
