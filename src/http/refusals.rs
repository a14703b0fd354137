//! What descriptions of endpoints have in common: errors, and bodies of several types.

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

/// In the description, a body that is one of several types.
macro_rules! any_of {
    ($(#[$doc:meta])* $visibility:vis $name:ident: $($type:ty),+) => {
        $(#[$doc])*
        $visibility struct $name;

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let any = utoipa::openapi::schema::AnyOfBuilder::new();
                $(let any = any.item(utoipa::openapi::Ref::from_schema_name(<$type as utoipa::ToSchema>::name()));)+
                any.into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn schemas(
                schemas: &mut Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)>,
            ) {
                $(
                    let name = <$type as utoipa::ToSchema>::name().into_owned();
                    schemas.push((name, <$type as utoipa::PartialSchema>::schema()));
                    <$type as utoipa::ToSchema>::schemas(schemas);
                )+
            }
        }
    };
}
pub(super) use any_of;
