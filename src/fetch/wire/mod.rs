//! The connection to a cloud: which addresses calls may reach, how a request is sent once, and how much of a response
//! is read.

mod address_class;
mod body;
mod egress_guard;
mod error_text;
mod in_flight;
mod open_guard;
mod send;

pub(super) use body::{Body, excerpt};
pub use egress_guard::Reach;
pub(super) use egress_guard::unreachable_urls;
pub(super) use error_text::error_text;
pub(super) use in_flight::InFlight;
pub use open_guard::AddressRefusal;
pub(super) use open_guard::OpenGuard;
pub(super) use send::{NoResponse, Response, ScriptedResponses, Wire};
