//! Quota arithmetic, and the last line inside one process.

mod gate;
pub mod quota;

pub use gate::{Counted, Gate};
pub use quota::Gcra;
