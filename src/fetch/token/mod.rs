//! Requests tokens: by a declared login, or by OAuth 2.0.

mod login;
mod oauth;
mod token_context;
mod token_response;
mod tokens;

pub(super) use oauth::OAuth;
pub use oauth::{AuthorizationRequest, DeviceCode, Reservations};
pub(super) use token_context::TokenContext;
pub(super) use tokens::Tokens;
