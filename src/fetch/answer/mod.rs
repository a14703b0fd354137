//! From an answer to the outcome of each job: judged, mapped, assigned.

mod assign;
mod judge;
pub(super) mod mapping;
mod paging;
pub(super) mod rate_limit;
pub(super) mod validate;
pub(super) mod wait;

pub(super) use assign::{Ended, all, assign_records, assign_records_until, readings};
pub(super) use judge::{Judge, unexpected};
pub(super) use paging::{Page, Pager};
