//! The schedule in Redis: who is due when, who waits in rank, and where a job is.

mod phase;
mod queue;
pub mod score;

pub use phase::phase;
pub use queue::{Entry, Place, Queue};
