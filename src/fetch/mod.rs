//! One call to a provider: rendered, sent, judged, mapped. The result is one outcome per job, which callers act on
//! without reading the response again.
//!
//! Its parts, from the top. Each imports only from rows below its own, as `ORDER` in `tests/tidy.rs` checks.
//!
//! | part | does |
//! |---|---|
//! | `cases/` | runs the cases of a definition: a whole call except for the network |
//! | `bench_hooks` | gives benches and fuzz targets access to single parts of a call |
//! | `bootstrap`, `list`, `probe`, `authorize` | calls for bootstrap values, lists of devices, revisions, tokens |
//! | `id_scope` | puts the home before ids that are unique only within one |
//! | `check/` | refuses definitions that compile and cannot work |
//! | `client` | makes the call, page by page, and returns one outcome per job |
//! | `push` | posts to an address that a user gave: no call to a provider, and behind a guard of its own |
//! | `token/` | requests tokens by a login or by OAuth 2.0 |
//! | `trace` | records a call's HTTP exchanges for people |
//! | `request/` | builds the request: templates, credentials, signature; redacts secrets in results |
//! | `answer/` | judges a response, maps it, assigns records to jobs; reads waits, limits, validators, further pages |
//! | `wire/`, `jq/` | sends a request once, bounded and behind the egress guard · runs jq, bounded |
//! | `call` | a call and its result |

mod answer;
mod authorize;
#[doc(hidden)]
mod bench_hooks;
mod bootstrap;
mod call;
pub mod cases;
mod check;
mod client;
mod id_scope;
mod jq;
mod list;
mod page;
mod probe;
mod push;
mod request;
mod token;
mod trace;
mod wire;

pub use bootstrap::Bootstrapped;
pub use call::{Call, CallResult, Rejected, Target, Validators};
pub use cases::{CaseResult, Difference, run_cases};
pub use client::Fetcher;
pub use list::Listing;
pub use push::{NoReceipt, Push, Pusher, Receipt, check_push_url};
pub use token::{AuthorizationRequest, DeviceCode, Reservations};
pub use trace::{Exchange, ReceivedResponse, SentRequest, Trace};
pub use wire::{AddressRefusal, Reach};
