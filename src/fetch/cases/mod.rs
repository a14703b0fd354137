//! Cases of a definition, run through all of a call but the network.

mod compare;
mod fixtures;
mod run;
mod token_cases;

pub use compare::these_requests;
pub use fixtures::{NOW, SECRET, secret, secrets};
pub use run::{Asked, Case, Cases, Difference, Ran, Said, cases, run_cases};
pub use token_cases::TokenCase;
