//! Providers, as declared in `config/providers/<name>.toml`: loaded and checked before anything is called.

mod check;
mod definition;
mod load;
mod lookup;
mod registry;

pub use definition::{
    Auth, Definition, Http, Method, Missing, Quota, Resource, Rule, RuleOutcome, Unit, Wait,
};
pub use load::{DefinitionError, LoadError, parse};
pub use lookup::LookupError;
pub use registry::{Provider, Registry};
