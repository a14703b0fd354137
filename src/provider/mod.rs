//! Providers, as declared in `config/providers/<name>.toml`: loaded and checked before anything is called.
//!
//! `definition` is a file's shape, made of `quota/`, `auth/`, `call/` and `value/`; `load/` reads and checks it;
//! `registry` holds all providers, `lookup` finds what somebody named, and `overview` describes one. Imports run that
//! way only (`ORDER` in `tests/tidy.rs`).

mod auth;
mod call;
mod definition;
mod fixtures;
mod http_text;
mod load;
mod lookup;
mod lookup_error;
mod overview;
mod quota;
mod registry;
pub mod value;

pub use auth::{
    About, Auth, AuthKind, BASIC, CLIENT, ClientAuth, Encoding, Flow, Key, Login, OAuth2, Param, ParamKind,
    Sign, SignKey, SignKind, TOKEN, Whose,
};
pub use call::{
    BOOTSTRAP, Bootstrap, DISCOVERY, Discovery, Format, Method, Missing, PageBy, Pages, Probe, Resource,
    Rule, RuleOutcome, Unit, Wait, WaitUnit,
};
pub use definition::{Definition, Http};
pub use fixtures::Fixtures;
pub(crate) use http_text::host_matches;
pub(crate) use load::line_of;
pub use load::{DefinitionError, LoadError, SCHEMA, parse, read_document, schema};
pub use lookup_error::LookupError;
pub use overview::{
    Authorization, ParamOverview, ProviderOverview, ResourceOverview, SecretOverview, ValueOverview,
};
pub use quota::{Amount, Calendar, Limit, PLAN, Quota, QuotaKind, RateLimit, Window, Zone, adaptive};
pub use registry::{Provider, Registry, Source, sources};
