//! Extractors that authenticate a request by its bearer key, count it, and check the key's role.

use super::Api;
use super::error::ApiError;
use super::key_limit::LeftCell;
use crate::preference::keys::Principal;
use crate::words::Role;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

/// Marks a request that was counted for its key's limit before its endpoint is reached.
#[derive(Clone, Copy)]
pub(super) struct Counted;

/// A valid key, of any role.
pub(super) struct Authenticated(pub(super) Principal);

/// A valid key of role `user` or higher, which may change preferences and connections.
pub(super) struct AuthenticatedUser(pub(super) Principal);

impl FromRequestParts<Api> for Authenticated {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let key = bearer(&parts.headers).ok_or(ApiError::NoKey)?;
        let key = api.keys.find(key).await?.ok_or(ApiError::BadKey)?;
        if parts.extensions.get::<Counted>().is_none() {
            api.key_limit.spend(&key, parts.extensions.get::<LeftCell>())?;
        }
        Ok(Self(key.principal))
    }
}

impl FromRequestParts<Api> for AuthenticatedUser {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let Authenticated(principal) = Authenticated::from_request_parts(parts, api).await?;
        let need = Role::User;
        if principal.role < need {
            return Err(ApiError::Forbidden { need, have: principal.role });
        }
        Ok(Self(principal))
    }
}

/// The key of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim()).filter(|key| !key.is_empty())
}
