//! Providers, as declared in `config/providers/<name>.toml`: loaded and checked before anything is called.

mod calendar;
mod check;
mod definition;
mod load;
mod lookup;
mod quota;
mod registry;
mod rule;

pub use calendar::{Calendar, Zone};
pub use definition::{Auth, Definition, Format, Http, Method, Missing, Resource, Unit};
pub use load::{DefinitionError, LoadError, parse};
pub use lookup::LookupError;
pub use quota::{Kind as QuotaKind, Limit, Quota, Window};
pub use registry::{Provider, Registry};
pub use rule::{Rule, RuleOutcome, Wait, WaitUnit};
