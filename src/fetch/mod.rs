//! One call to a provider: rendered, sent, judged, mapped. Who knows decides: what comes out is an outcome a job.
//!
//! Its parts, from the top. Each imports only those in rows below its own; `ORDER` in `tests/tidy.rs` holds it to that.
//!
//! | part | does |
//! |---|---|
//! | `cases/` | runs the cases of a definition through all of a call but the network |
//! | `bench_hooks` | shows benches and fuzz targets single parts of a call |
//! | `bootstrap`, `list`, `probe`, `authorize` | other calls: for bootstrap values, devices, revisions, tokens |
//! | `client` | makes the call: page after page, to one outcome per job |
//! | `trace`, `token/` | shows people what a call looked like · gets tokens by a login or by OAuth 2.0 |
//! | `request/` | makes the request: templates, credentials, signature; redacts them in what is reported |
//! | `answer/` | judges an answer, maps it, assigns records to jobs; finds waits, limits, validators, further pages |
//! | `wire/`, `jq/` | sends a request once, within bounds, to where it may go · runs jq, within bounds |
//! | `call` | the call to make, and what it came to |

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
