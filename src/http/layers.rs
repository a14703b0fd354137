//! Middleware around every endpoint: a tracing span, limits on time and body size, and errors as problem documents.

use super::error::{ApiError, HEADER_BYTES_MAX, HEADERS_MAX, Problem, URI_BYTES_MAX};
use super::key_limit;
use crate::settings::Origins;
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::time::Duration;
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tracing::Instrument;

/// Timeout of a whole request, including the arrival of its body.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout of an import of devices, including the arrival of its body.
pub(super) const IMPORT_TIMEOUT: Duration = Duration::from_secs(300);

/// By it, a request names itself; see `idempotency`.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Whether an answer is that of an earlier request of the same name.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// How long browsers need not ask again what a page may do.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);

/// Gives up on requests that take longer.
pub(super) fn within(timeout: Duration) -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, timeout)
}

/// Refuses longer bodies.
pub(super) fn bodies_up_to(bytes: usize) -> RequestBodyLimitLayer {
    RequestBodyLimitLayer::new(bytes)
}

/// Wraps a router in the middleware; the layer added last sees a request first.
pub(super) fn wrap(router: Router, origins: &Origins) -> Router {
    let router = router
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn(bounded))
        .layer(CatchPanicLayer::custom(panic_response))
        .layer(map_response(into_problem))
        .layer(from_fn(key_limit::tell))
        .layer(CompressionLayer::new())
        .layer(from_fn(not_stored))
        .layer(map_response(secured));
    let router = match origins.as_slice() {
        [] => router,
        origins => router.layer(cross_origin(origins)),
    };
    router.layer(from_fn(trace))
}

/// Lets pages of these origins call the API from a browser. Nothing that a browser would send by itself counts here, so
/// none is allowed along: pages send a key.
fn cross_origin(origins: &[String]) -> CorsLayer {
    let allowed = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        // Their characters were checked when they were read.
        false => AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok())),
    };
    let [last_event_id, limit, policy] =
        ["last-event-id", "ratelimit", "ratelimit-policy"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            IDEMPOTENCY_KEY,
            last_event_id,
            REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            limit,
            policy,
            REPLAYED,
            REQUEST_ID,
        ])
        .max_age(PREFLIGHT_MAX_AGE)
}

/// Refuses long addresses and headers before the server below does, because its refusals have no body.
async fn bounded(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if request.uri().to_string().len() > URI_BYTES_MAX {
        return ApiError::UriTooLong.into_response();
    }
    if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return ApiError::HeadersTooLarge.into_response();
    }
    next.run(request).await
}

/// Responses of the API age or are private: nothing on the way may store them.
async fn not_stored(request: Request, next: Next) -> Response {
    let ages = request.uri().path().starts_with("/v1");
    let mut response = next.run(request).await;
    if ages {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Names the request in the log and in the response. A client may choose the name, to find it in both logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_CHARS_MAX: usize = 128;

/// The client's name of the request if it is plain text, or else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_plain = |id: &&HeaderValue| {
        (1..=REQUEST_ID_CHARS_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    let chosen = headers.get(REQUEST_ID).filter(is_plain).cloned();
    // Hexadecimal digits are a header's value.
    let new = || HeaderValue::try_from(format!("{:032x}", rand::random::<u128>()));
    chosen.or_else(|| new().ok()).unwrap_or(HeaderValue::from_static("none"))
}

/// Browsers are to take answers for what they are, run nothing of them, and show them in no frame.
async fn secured(mut response: Response) -> Response {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    response.headers_mut().entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    response
}

/// Traces neither headers nor the raw path: both may contain secrets.
async fn trace(request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let id = request_id(request.headers());
    let span = tracing::info_span!("request", method = %request.method(), path, id = id.to_str().unwrap_or_default());
    async {
        let started = Instant::now();
        let mut response = next.run(request).await;
        response.headers_mut().insert(REQUEST_ID, id);
        let ms = started.elapsed().as_secs_f64() * 1000.0;
        tracing::debug!(status = response.status().as_u16(), ms, "answered");
        response
    }
    .instrument(span)
    .await
}

/// Turns errors that the framework answered by itself into problems. Keeps headers such as `Allow`.
async fn into_problem(response: Response) -> Response {
    let status = response.status();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|is| is.as_bytes() == Problem::CONTENT_TYPE.as_bytes());
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let mut headers = response.into_parts().0.headers;
    headers.remove(header::CONTENT_TYPE);
    headers.remove(header::CONTENT_LENGTH);
    let mut problem = ApiError::from_status(status).into_response();
    problem.headers_mut().extend(headers);
    problem
}

fn panic_response(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    ApiError::Internal(format!("a handler panicked: {}", text.unwrap_or("(no message)")).into())
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use futures::future::pending;

    async fn status_of(path: &str) -> (StatusCode, String) {
        let router = Router::new()
            .route("/panics", get(async || -> () { panic!("on purpose") }))
            .route("/hangs", get(pending::<()>))
            .layer(within(Duration::from_millis(1)));
        let router = wrap(router, &Origins::default());
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
        assert_eq!(response.headers()[header::CONTENT_TYPE], Problem::CONTENT_TYPE);
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn panic_timeout_and_unknown_path_are_problems() {
        let (status, body) = status_of("/panics").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.contains("on purpose"), "{body}");
        assert_eq!(status_of("/hangs").await.0, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(status_of("/nowhere").await.0, StatusCode::NOT_FOUND);
    }
}
