//! The connection to a cloud: which addresses calls may reach, how a request is sent once, and how much of a response
//! is read.

mod address_class;
mod body;
mod egress_guard;
mod error_text;
mod in_flight;
mod send;

pub(super) use body::{Body, excerpt};
pub use egress_guard::Reach;
pub(super) use egress_guard::unreachable_urls;
pub(super) use in_flight::InFlight;
pub(super) use send::{NoResponse, Response, ScriptedResponses, Wire};
