//! What a user asks for outside the schedule: an ad-hoc call, granted by the same quotas and settled like any other,
//! and "refresh now", which puts a scheduled job first.

mod call;
mod refresh;

pub use call::{AdHocCall, AdHocEnd, AdHocError, KEEP_MS};
pub use refresh::{Asker, RefreshError, RefreshStatus, Refreshed, refresh_bounds, refresh_now};
