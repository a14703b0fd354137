//! One call to a provider: rendered, sent, judged, mapped. Who knows decides: what comes out is an outcome a job.

mod client;
mod judge;
mod mapping;
mod request;
mod wait;

pub use client::{Answer, Call, Fetcher, Target};
