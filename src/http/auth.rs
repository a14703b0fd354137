//! Who asks, by the bearer key of the request; and whether they may.

use super::Api;
use super::error::ApiError;
use crate::preference::keys::Principal;
use crate::words::Role;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

/// Somebody with a valid key, of any role.
pub(super) struct Caller(pub(super) Principal);

/// Somebody who may set preferences.
pub(super) struct Owner(pub(super) Principal);

impl FromRequestParts<Api> for Caller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let key = bearer(&parts.headers).ok_or(ApiError::NoKey)?;
        api.keys.find(key).await?.map(Self).ok_or(ApiError::BadKey)
    }
}

impl FromRequestParts<Api> for Owner {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let Caller(who) = Caller::from_request_parts(parts, api).await?;
        let need = Role::User;
        if who.role >= need { Ok(Self(who)) } else { Err(ApiError::Forbidden { need, have: who.role }) }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim()).filter(|key| !key.is_empty())
}
