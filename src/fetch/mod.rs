//! One call to a provider: rendered, sent, judged, mapped. Who knows decides: what comes out is an outcome a job.

mod body;
mod client;
mod guard;
mod judge;
mod mapping;
mod place;
mod request;
mod wait;
mod wire;

pub use client::{Answer, Call, Fetcher, Target};
pub use guard::Reach;
