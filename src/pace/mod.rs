//! Quota arithmetic, plans, and a rate limiter inside each process.

mod gate;
pub mod gauge;
pub mod plan;
pub mod quota;

pub use gate::{Gate, GateCall};
pub use gauge::Gauge;
pub use plan::{
    Beside, Demand, Effective, Holder, Load, Plan, QuotaInputsByConnection, plan, plan_beside, shares_quotas,
};
pub use quota::Gcra;
