//! One call to a provider: rendered, sent, judged, mapped. Who knows decides: what comes out is an outcome a job.

mod body;
mod bootstrap;
mod bounds;
mod call;
pub mod case_world;
pub mod cases;
mod client;
pub mod compare;
mod count;
mod credential;
mod direct;
mod guard;
mod hand_out;
mod hide;
mod in_flight;
mod jq;
mod judge;
mod list;
mod login;
mod mapping;
mod oauth;
mod paging;
#[doc(hidden)]
mod pieces;
mod place;
mod prepare;
mod probe;
mod rate_limit;
mod request;
mod sign;
mod template;
mod token_answer;
pub mod token_cases;
mod tokens;
mod trace;
mod validate;
mod wait;
mod wire;

pub use bootstrap::Bootstrapped;
pub use call::{Answer, Call, Target, Validators};
pub use cases::{Difference, Ran, run_cases};
pub use client::Fetcher;
pub use guard::Reach;
pub use list::Listing;
pub use oauth::{AuthorizationRequest, DeviceCode};
pub use trace::{Came, Exchange, Sent, Trace};
