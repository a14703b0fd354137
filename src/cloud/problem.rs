//! Error responses and their status codes: `application/problem+json`, as in RFC 9457.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::limits::{Limit, Scope};

/// Maximum number of ids in a batch.
pub(super) const BATCH_MAX: usize = 20;
/// Maximum page size of the device list.
pub(super) const PAGE_SIZE_MAX: u32 = 100;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("unknown key: send \"Authorization: Bearer <key>\" with the key of an account")]
    Unauthorized,
    #[error("{} used up the limit {limit}: try again in {retry_after_s} s", holder(.limit))]
    RateLimited { limit: Limit, retry_after_s: i64 },
    #[error("ids is missing or empty: send 1 to {BATCH_MAX} device ids, such as ids=th-7c9e6679,pv-01b2c3d4")]
    NoIds,
    #[error("a batch of {0} ids is too large: send at most {BATCH_MAX}")]
    TooManyIds(usize),
    #[error("page and size must be whole numbers, page from 1 and size from 1 to {PAGE_SIZE_MAX}")]
    BadPage,
    #[error("this account has no device {0}")]
    NoSuchDevice(String),
    #[error("device {0} has no energy counter: only solar inverters and power meters have one")]
    NoEnergy(String),
    #[error("no such path: {0}; see /v1/devices, /v1/devices/state and /v1/devices/{{id}}/energy")]
    NoSuchPath(String),
    #[error("internal error (injected); the request may be repeated")]
    Internal,
}

fn holder(limit: &Limit) -> &'static str {
    match limit.scope {
        Scope::Account => "this account has",
        Scope::App => "all accounts together have",
    }
}

#[derive(Serialize)]
struct Body {
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<i64>,
}

impl Problem {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Problem::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Problem::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Problem::NoIds => (StatusCode::BAD_REQUEST, "no_ids"),
            Problem::TooManyIds(_) => (StatusCode::BAD_REQUEST, "too_many_ids"),
            Problem::BadPage => (StatusCode::BAD_REQUEST, "bad_page"),
            Problem::NoSuchDevice(_) => (StatusCode::NOT_FOUND, "no_such_device"),
            Problem::NoEnergy(_) => (StatusCode::NOT_FOUND, "no_energy"),
            Problem::NoSuchPath(_) => (StatusCode::NOT_FOUND, "no_such_path"),
            Problem::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let (limit, retry_after_s) = match &self {
            Problem::RateLimited { limit, retry_after_s } => (Some(limit.to_string()), Some(*retry_after_s)),
            _ => (None, None),
        };
        let body = Body { status: status.as_u16(), code, detail: self.to_string(), limit, retry_after_s };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
