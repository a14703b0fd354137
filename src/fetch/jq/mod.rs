//! jq programs, which map responses.

mod bounds;
mod count;
mod direct;
mod error;
mod functions;
mod off_runtime;
mod program;
mod shape;

pub(super) use bounds::{Bounds, ResponseBounds};
pub(super) use off_runtime::OffRuntime;
pub(super) use program::{Program, on_large_stack};
pub(super) use shape::{Keys, objects};
