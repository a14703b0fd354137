//! The schedule in Redis: which jobs are due when, which wait in rank, and where a job is.

mod gone;
mod offset;
mod queue;
mod quota_inputs;
mod refresh;
pub mod score;

pub use gone::Holders;
pub use offset::offset_ms;
pub use queue::{Entry, FailuresInARow, JobLocation, Queue};
pub use quota_inputs::QuotaInputsUpdate;
pub use refresh::{Limited, LimitedBy, Refresh, RefreshBounds, RefreshLimits, RefreshesLeft};
