//! How tokens are asked for: by a declared login, or by OAuth 2.0.

mod login;
mod oauth;
mod token_answer;
mod tokens;
mod with;

pub(super) use oauth::OAuth;
pub use oauth::{AuthorizationRequest, DeviceCode};
pub(super) use tokens::Tokens;
pub(super) use with::With;
