//! What a user asks for outside the schedule: an ad-hoc call, granted by the same quotas and settled like any other.

mod call;

pub use call::{AdHocCall, AdHocEnd, AdHocError, KEEP_MS, Whose};
