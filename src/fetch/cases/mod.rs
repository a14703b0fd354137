//! Cases of a definition, run through all of a call but the network.

mod case;
mod compare;
mod fixtures;
mod run;
mod token_cases;

pub use case::{Asked, Case, Difference, Said};
pub use compare::these_requests;
pub use fixtures::{NOW, SECRET, secret, secrets};
pub use run::{Cases, Ran, cases, run_cases};
pub use token_cases::TokenCase;
