//! From a call to its request: templates, credentials and signature.

mod credential;
mod prepare;
mod redact;
mod render;
mod sign;
mod template;

pub(super) use credential::Credentials;
pub(super) use prepare::headers;
pub(super) use redact::{forms_of, hide, hide_in, tells};
pub(super) use render::{Body, RequestError, Requests, usable};
pub(super) use sign::Signer;
pub(super) use template::{Kind, Templates};
