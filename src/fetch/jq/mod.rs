//! jq programs, which map responses.

mod bounds;
mod count;
mod direct;
mod functions;
mod off_runtime;
mod program;

pub(super) use bounds::Bounds;
pub(super) use off_runtime::OffRuntime;
pub(super) use program::{Program, on_large_stack};
