//! Cases of a definition: tests that run a whole call, except for the network.

mod case;
mod compare;
mod fixtures;
mod run;
mod token_cases;

pub use case::{Case, CaseResponse, Difference, ExpectedRequest};
pub use compare::compare_requests;
pub use fixtures::{NOW, SECRET, secret, secrets};
pub use run::{CaseResult, Cases, cases, run_cases};
pub use token_cases::TokenCase;
