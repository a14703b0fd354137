//! The limits that requests are counted against, and the referee that counts them.

mod gate;
mod limit;
mod referee;
mod seconds;
mod sliding_log;

pub(super) use gate::Tightest;
pub use limit::{BadLimit, Limit, Scope};
pub(super) use referee::{Figures, Referee, Verdict};
