//! From a call to its request: templates, credentials and signature.

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
pub(super) use redact::{forms_of, hide, hide_in, tells};
pub(super) use render::{Body, usable};
pub(super) use render_context::RenderContext;
pub(super) use template::{Kind, Templates};
