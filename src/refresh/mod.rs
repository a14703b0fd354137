//! "Refresh now": puts scheduled jobs ahead of everything, as soon as the quotas let them, and tells how that ends.

mod ask;
mod error;
mod progress;

pub use ask::{Asked, AskedJob, Asker, RefreshStatus, Refreshed, bounds, refresh_all, refresh_now};
pub use error::RefreshError;
pub use progress::{JobProgress, JobProgressState, Progress, progress, wait};

pub use crate::preference::jobs::JobFilter;
