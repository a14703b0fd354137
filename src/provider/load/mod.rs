//! Parses and checks a definition file.

mod check;
mod parse;
mod quota_check;
mod repair;
mod resource_check;
mod schema;

pub(crate) use parse::line_of;
pub use parse::{DefinitionError, LoadError, parse, read_document};
pub use schema::{SCHEMA, schema};
