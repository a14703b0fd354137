//! Errors in the description that endpoints have in common.

use super::error::Problem;
use utoipa::IntoResponses;

/// Errors that every endpoint with a key may return.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
pub(super) enum Refusals {
    /// The key is missing, unknown, expired or revoked
    #[response(status = 401, content_type = "application/problem+json")]
    NoKey(Problem),
    /// The address is too long
    #[response(status = 414, content_type = "application/problem+json")]
    UriTooLong(Problem),
    /// The key has made too many requests; `Retry-After` says when to try again
    #[response(
        status = 429, content_type = "application/problem+json",
        headers(("Retry-After" = u64, description = "Seconds"), ("RateLimit-Policy" = String), ("RateLimit" = String))
    )]
    TooManyRequests(Problem),
    /// The headers are too large
    #[response(status = 431, content_type = "application/problem+json")]
    HeadersTooLarge(Problem),
    /// Internal error
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// Postgres or Redis is unavailable
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// The request timed out
    #[response(status = 504, content_type = "application/problem+json")]
    TimedOut(Problem),
}
