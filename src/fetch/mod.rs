//! One call to a provider: rendered, sent, judged, mapped. Who knows decides: what comes out is an outcome a job.

mod body;
mod client;
mod count;
mod guard;
mod jq;
mod judge;
mod mapping;
#[doc(hidden)]
pub mod pieces;
mod place;
mod request;
mod wait;
mod wire;

pub use client::{Answer, Call, Fetcher, Target};
pub use guard::Reach;
