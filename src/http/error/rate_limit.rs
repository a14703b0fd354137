//! The standard headers that say how many requests are left (IETF draft-ietf-httpapi-ratelimit-headers).

use crate::schedule::{RefreshBounds, RefreshesLeft};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};
use std::convert::Infallible;
use std::time::Duration;

/// `RateLimit-Policy` and `RateLimit` of refreshes.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct RateLimit {
    bounds: RefreshBounds,
    left: RefreshesLeft,
}

impl RateLimit {
    pub(in crate::http) fn of(bounds: RefreshBounds, left: RefreshesLeft) -> Self {
        Self { bounds, left }
    }

    pub(super) fn headers(&self) -> [(HeaderName, String); 2] {
        let RefreshesLeft { left, reset } = self.left;
        let (amount, window) =
            (self.bounds.amount, seconds(Duration::from_millis(self.bounds.window.as_ms())));
        [
            (HeaderName::from_static("ratelimit-policy"), format!("\"refresh\";q={amount};w={window}")),
            (HeaderName::from_static("ratelimit"), format!("\"refresh\";r={left};t={}", seconds(reset))),
        ]
    }
}

/// Whole seconds: whoever waits so long does not come too early.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000) as u64
}

impl IntoResponseParts for RateLimit {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        for (name, value) in self.headers() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                parts.headers_mut().insert(name, value);
            }
        }
        Ok(parts)
    }
}
