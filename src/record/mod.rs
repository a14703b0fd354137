//! Readings and failures into Postgres: batched, fenced, idempotent. Nothing is settled before it is here.

pub mod erase;
pub mod export;
mod failures;
pub mod history;
pub mod rollup;
pub mod select;
pub mod series;
mod targets;
pub mod view;
mod write;

pub use failures::{Failure, LastFailures, last_failures, recover, write as write_failures};
pub use targets::{TargetRow, read as read_targets, siblings as read_siblings, validators};
pub use write::{Observation, Written, write};
