//! Turns a response into the outcome of each job: judged, mapped, assigned.

mod assign;
mod judge;
pub(super) mod mapping;
mod paging;
pub(super) mod rate_limit;
pub(super) mod validate;
pub(super) mod wait;

pub(super) use assign::{EndedEarly, all, assign_records, assign_records_until, readings};
pub(super) use judge::{Judge, describe_unexpected};
pub(super) use paging::{Page, Pager};
