//! A series: the readings of one resource of one device in time. What was read stands until the next reading, and no
//! longer than something was known of the device. Pure: stretches of readings are joined, and cut into steps.

mod level;
mod steps;
mod stretch;
mod tally;

pub use level::Level;
pub use steps::{Known, Point, Span, Steps};
pub use stretch::Stretch;
pub use tally::Tally;
