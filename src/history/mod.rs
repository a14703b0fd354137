//! What was: readings of a time as they came, or by steps. From roll-ups where they serve, else from readings; lists of
//! either are read at a replica that is close behind.

mod bounds;
mod export;
mod query;

pub use bounds::{TooManyPoints, Window};
pub use export::Export;
pub use query::{ByStep, HistoryError, Question, RawPoint, RawSeries, StepSeries, readings, steps};
