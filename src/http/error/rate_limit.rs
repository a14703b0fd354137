//! The standard headers that say how many requests are left (IETF draft-ietf-httpapi-ratelimit-headers).

use crate::schedule::{RefreshBounds, RefreshesLeft};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
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

    fn append(&self, headers: &mut HeaderMap) {
        let RefreshesLeft { left, reset } = self.left;
        let window = Duration::from_millis(self.bounds.window.as_ms());
        append(headers, "refresh", (self.bounds.amount, window), (left, reset));
    }
}

/// Adds the headers of a limit: of how many in which window how many are left, and when there is one more. Answers may
/// have several limits.
pub(in crate::http) fn append(
    headers: &mut HeaderMap,
    name: &str,
    (amount, window): (u32, Duration),
    (left, reset): (u32, Duration),
) {
    for (header, value) in [
        ("ratelimit-policy", format!("\"{name}\";q={amount};w={}", seconds(window))),
        ("ratelimit", format!("\"{name}\";r={left};t={}", seconds(reset))),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(HeaderName::from_static(header), value);
        }
    }
}

/// Whole seconds: whoever waits so long does not come too early.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000) as u64
}

impl IntoResponseParts for RateLimit {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        self.append(parts.headers_mut());
        Ok(parts)
    }
}
