//! The schedule in Redis: who is due when, who waits in rank, and where a job is.

mod offset;
mod queue;
pub mod score;
mod terms;

pub use offset::offset_ms;
pub use queue::{Entry, Place, Queue, Refresh};
pub use terms::Told;
