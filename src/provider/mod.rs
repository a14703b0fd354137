//! Providers, as declared in `config/providers/<name>.toml`: loaded and checked before anything is called.

mod auth;
mod calendar;
mod check;
mod definition;
mod discovery;
mod fixtures;
mod http_text;
mod load;
mod login;
mod lookup;
mod oauth2;
mod pages;
mod quota;
mod rate_limit;
mod registry;
mod repair;
mod rule;
mod schema;
mod sign;

pub use auth::{About, Auth, AuthKind, BASIC, Key, Param};
pub use calendar::{Calendar, Zone};
pub use definition::{Definition, Format, Http, Method, Missing, Resource, Unit};
pub use discovery::{DISCOVERY, Discovery};
pub use fixtures::Fixtures;
pub(crate) use load::line_of;
pub use load::{DefinitionError, LoadError, parse, read_document};
pub use login::Login;
pub use lookup::LookupError;
pub use oauth2::{CLIENT, ClientAuth, Flow, OAuth2, Whose};
pub use pages::{PageBy, Pages};
pub use quota::{Kind as QuotaKind, Limit, Quota, Window};
pub use rate_limit::RateLimit;
pub use registry::{Provider, Registry, Source, sources};
pub use rule::{Rule, RuleOutcome, Wait, WaitUnit};
pub use schema::{SCHEMA, schema};
pub use sign::{Encoding, Sign, SignKey, SignKind};
