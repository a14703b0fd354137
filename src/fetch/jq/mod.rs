//! jq programs: what maps answers.

mod bounds;
mod count;
mod direct;
mod program;

pub(super) use program::Program;
