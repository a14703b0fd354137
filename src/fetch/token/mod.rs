//! How tokens are asked for: by a declared login, or by OAuth 2.0.

mod login;
mod oauth;
mod token_answer;
mod tokens;

pub(super) use login::{With, opened, seen};
pub use oauth::{AuthorizationRequest, DeviceCode};
pub(super) use tokens::Tokens;
