//! Quota arithmetic, and the last line inside one process.

mod gate;
pub mod gauge;
pub mod quota;

pub use gate::{Counted, Gate};
pub use gauge::Gauge;
pub use quota::Gcra;
