//! Extractors for path, query and body that reject with an [`ApiError`] instead of axum's plain text.

use super::error::{ApiError, shortened};
use axum::body::{Body, Bytes};
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

/// The path's parameters.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|_| ApiError::BadId)
    }
}

/// The query's parameters.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|e| ApiError::BadQuery(shortened(&e.body_text())))
    }
}

/// A JSON body: an object. serde also takes an array for a struct, its fields by position, so `["30s", "high"]` would
/// be accepted and change its meaning with the order of fields.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let bytes = Bytes::from_request(Request::new(body), state).await.map_err(JsonRejection::from)?;
        let is_array = bytes.trim_ascii_start().starts_with(b"[");
        let request = Request::from_parts(head, Body::from(bytes));
        match axum::Json::from_request(request, state).await {
            Ok(_) | Err(JsonRejection::JsonDataError(_)) if is_array => Err(ApiError::NoObject),
            read => Ok(Self(read?.0)),
        }
    }
}

/// A body of any type, up to the endpoint's limit.
pub(super) struct Text(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Text {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(JsonRejection::from)?;
        Ok(Self(bytes))
    }
}
