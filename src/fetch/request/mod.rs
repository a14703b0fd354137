//! Builds the request of a call: templates, credentials, signature.

mod credential;
mod error;
mod prepare;
mod redact;
mod render;
mod render_context;
mod sign;
mod template;

pub(super) use error::RequestError;
pub(super) use prepare::Preparer;
pub(super) use redact::{contains_secret, redact, redact_text, secret_forms};
pub(super) use render::{Body, parse_url};
pub(super) use render_context::RenderContext;
pub(super) use template::{Kind, Templates};
