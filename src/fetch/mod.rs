//! One call to a provider: rendered, sent, judged, mapped. Who knows decides: what comes out is an outcome a job.

mod answer;
mod authorize;
#[doc(hidden)]
mod bench_hooks;
mod bootstrap;
mod call;
pub mod cases;
mod client;
mod jq;
mod list;
mod probe;
mod request;
mod token;
mod trace;
mod wire;

pub use bootstrap::Bootstrapped;
pub use call::{Answer, Call, Target, Validators};
pub use cases::{Difference, Ran, run_cases};
pub use client::Fetcher;
pub use list::Listing;
pub use token::{AuthorizationRequest, DeviceCode};
pub use trace::{Came, Exchange, Sent, Trace};
pub use wire::Reach;
