//! `Idempotency-Key`: a request that names itself is served once. Its repetition within a day gets the first answer.

use super::Api;
use super::auth::{Counted, bearer};
use super::error::{ApiError, Problem};
use super::key_limit::LeftCell;
use super::layers::{IDEMPOTENCY_KEY, IMPORT_TIMEOUT, REPLAYED, REQUEST_TIMEOUT};
use crate::preference::idempotency::{self, Answer, Claimed, Name};
use crate::words::Role;
use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::time::timeout;

/// The endpoints that take the header. Others are idempotent, change nothing, or answer with a secret.
pub(super) const PATHS: [&str; 6] = [
    "/v1/connections",
    IMPORT,
    "/v1/connections/{id}/discover",
    "/v1/connections/{id}/test",
    "/v1/devices/{id}/jobs/{resource}/refresh",
    "/v1/refreshes",
];

const IMPORT: &str = "/v1/connections/{id}/devices";

const NAME_CHARS_MAX: usize = 255;
/// Longer answers are not kept; no endpoint above gives one.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The header, in the description.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "its field is documentation")]
pub(super) struct IdempotencyKey {
    /// Names the request: repeated within a day, with the same body, it is not served again, but answered as the first
    /// time (with `Idempotent-Replayed: true`). Only answers of success count; after another, it is served anew.
    #[param(rename = "Idempotency-Key", example = "4f9b7c1e-5d0a-4a57-8f0e-3f6a1a2f9f10")]
    idempotency_key: Option<String>,
}

/// Why a request that names itself is not served. What the endpoint itself says of these statuses stands before.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
pub(super) enum NotServed {
    /// The `Idempotency-Key` is not accepted
    #[response(status = 400, content_type = "application/problem+json")]
    BadName(Problem),
    /// The first request of this `Idempotency-Key` is still being served
    #[response(status = 409, content_type = "application/problem+json")]
    StillServed(Problem),
    /// The body exceeds the server's limit
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The `Idempotency-Key` was used for another request
    #[response(status = 422, content_type = "application/problem+json")]
    Reused(Problem),
}

/// Serves a request that names itself once.
pub(super) async fn once(State(api): State<Api>, request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let path = matched.and_then(|path| PATHS.into_iter().find(|known| *known == path));
    match path.filter(|_| request.method() == Method::POST && request.headers().contains_key(IDEMPOTENCY_KEY))
    {
        Some(path) => {
            served_once(&api, path, request, next).await.unwrap_or_else(IntoResponse::into_response)
        }
        None => next.run(request).await,
    }
}

async fn served_once(api: &Api, path: &str, request: Request, next: Next) -> Result<Response, ApiError> {
    let named = named(request.headers())?;
    let secret = bearer(request.headers()).map(str::to_owned).unwrap_or_default();
    let key = api.keys.find(&secret).await?.filter(|key| key.principal.role >= Role::User);
    // Refused by the endpoint.
    let Some(key) = key else { return Ok(next.run(request).await) };
    let mut request = request;
    api.key_limit.spend(&key, request.extensions().get::<LeftCell>())?;
    request.extensions_mut().insert(Counted);
    let name = Name { tenant: key.principal.tenant, key: key.id, name: named };
    let (head, body) = request.into_parts();
    let limits = &api.app.settings.http;
    let most = limits.body_bytes_max.max(if path == IMPORT { limits.import_bytes_max } else { 0 });
    let within = if path == IMPORT { IMPORT_TIMEOUT } else { REQUEST_TIMEOUT };
    let body = timeout(within, to_bytes(body, most)).await.map_err(|_| ApiError::TimedOut)?;
    let body = body.map_err(|_| ApiError::BodyTooLarge)?;
    let hash = fingerprint(&secret, head.uri.path_and_query().map_or("", |path| path.as_str()), &body)?;
    let pool = &api.app.pool;
    let claim = match idempotency::claim(pool, &name, &hash).await? {
        Claimed::Yes(claim) => claim,
        Claimed::Answered(answer) => return Ok(replayed(answer)),
        Claimed::UnderWay => return Err(ApiError::StillServed),
        Claimed::Other => return Err(ApiError::NameReused),
    };
    let request = Request::from_parts(head, Body::from(body));
    // Served to its end even if the client goes away: it will ask again.
    let (app, served, unanswered) = (api.app.clone(), next.run(request), name.clone());
    let ended = api.app.detached.spawn(async move {
        let (head, body) = served.await.into_parts();
        let body = to_bytes(body, ANSWER_BYTES_MAX).await;
        let kept = match &body {
            Ok(body) if head.status.is_success() => {
                let (status, headers) = (head.status.as_u16(), headers(&head.headers));
                let answer = Answer { status, headers, body: body.to_vec() };
                idempotency::answer(&app.pool, &name, claim, &answer).await
            }
            // It was refused, or failed: its repetition may go well.
            _ => idempotency::release(&app.pool, &name, claim).await,
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "a repetition of a request will not be recognised for some minutes");
        }
        body.map(|body| Response::from_parts(head, Body::from(body)))
    });
    let Ok(answered) = ended.await else {
        // The handler panicked. What it changed is not known, so its repetition is served anew.
        idempotency::release(pool, &unanswered, claim).await?;
        return Err(ApiError::Internal("the handler of a request that named itself panicked".into()));
    };
    answered.map_err(|error| ApiError::Internal(error.into()))
}

/// What recognises a request. Its key is the API key, which is not stored: the body may hold secrets, which could be
/// guessed by a plain hash.
fn fingerprint(secret: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mac = mac.map_err(|error| ApiError::Internal(error.into()))?;
    Ok(mac.chain_update(path).chain_update([0]).chain_update(body).finalize().into_bytes().to_vec())
}

/// The request's name: visible ASCII, in quotes or without.
fn named(headers: &HeaderMap) -> Result<String, ApiError> {
    let mut all = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return Err(ApiError::BadName) };
    let text = value.to_str().map_err(|_| ApiError::BadName)?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let is_plain =
        (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| text.to_owned()).ok_or(ApiError::BadName)
}

/// The headers that tell of the answer; others tell of the request, such as what is left to the key.
const KEPT: [HeaderName; 2] = [header::CONTENT_TYPE, header::LOCATION];

fn headers(headers: &HeaderMap) -> Value {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    KEPT.iter()
        .filter_map(|name| Some((name.to_string(), json!(text(name)?))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn replayed(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = axum::http::StatusCode::from_u16(answer.status).unwrap_or_default();
    for name in KEPT {
        let value = answer.headers.get(name.as_str()).and_then(Value::as_str);
        if let Some(value) = value.and_then(|text| HeaderValue::from_str(text).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
