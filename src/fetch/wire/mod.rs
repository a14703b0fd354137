//! The wire to a cloud: where calls may go, how a request is sent once, and how much of an answer is read.

mod address_class;
mod body;
mod egress_guard;
mod error_text;
mod in_flight;
mod send;

pub(super) use body::{Body, excerpt};
pub use egress_guard::Reach;
pub(super) use in_flight::InFlight;
pub(super) use send::{Reply, Script, Silence, Wire};
