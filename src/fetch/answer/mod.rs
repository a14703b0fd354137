//! Turns a response into the outcome of each job: judged, mapped, assigned.

mod assign;
pub(super) mod elements;
mod judge;
pub(super) mod mapping;
mod paging;
pub(super) mod rate_limit;
mod silence;
pub(super) mod text;
pub(super) mod validate;
mod values;
pub(super) mod wait;

pub(super) use assign::{EndedEarly, all, assign_records, assign_records_until};
pub(super) use judge::{Judge, describe_unexpected};
pub(super) use paging::{Page, Pager};
pub(super) use silence::silent_marked;
