//! One call to a provider: rendered, sent, judged, mapped. Who knows decides: what comes out is an outcome a job.

mod cases;
mod client;
mod compare;
mod hand_out;
mod hide;
mod in_flight;
mod judge;
mod mapping;
mod paging;
mod rate_limit;
mod request;
mod trace;
mod wait;
mod wire;

pub use cases::{Difference, Ran, run_cases};
pub use client::{Answer, Call, Fetcher, Target};
pub use trace::{Came, Exchange, Sent, Trace};
