//! Quota arithmetic, and the last line inside one process.

mod gate;
pub mod gauge;
pub mod plan;
pub mod quota;

pub use gate::{Counted, Gate};
pub use gauge::Gauge;
pub use plan::{Demand, Effective, Holder, Load, Plan, QuotaInputsOf, plan};
pub use quota::Gcra;
