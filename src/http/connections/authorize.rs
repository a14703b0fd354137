//! The owner's way through an authorization, in one browser: a page that names the connection, the provider's pages,
//! and the way back.
//!
//! Who sends an owner a link must not get what the owner thinks to give to somebody else: the page says whose
//! connection it is, and only the browser that went on from it may bring the provider's answer. A cookie tells: it
//! follows from the state, so that nothing is stored, and no other site can set it here.

use crate::authorise::{self, AwaitedAuthorization, Callback};
use crate::http::Api;
use crate::http::error::{ApiError, Problem};
use crate::http::extract::Query;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// As long as an authorization waits for its callback.
const COOKIE_S: u32 = 600;

/// The query of the page where a browser begins.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct StartQuery {
    /// The state that the URL carries.
    #[param(value_type = String)]
    state: SecretString,
}

/// The query of the provider's redirect.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct CallbackQuery {
    /// The state that the authorization URL carried.
    #[param(value_type = Option<String>)]
    state: Option<SecretString>,
    /// The code to exchange for a token.
    #[param(value_type = Option<String>)]
    code: Option<SecretString>,
    /// Why there is no code.
    error: Option<String>,
}

/// Shows whose connection an owner is about to authorize. Needs no key: the `state` authenticates the request.
#[utoipa::path(
    get, path = "/v1/authorize/start", operation_id = "authorize_start", tag = "connections",
    params(StartQuery),
    responses(
        (status = 200, description = "A page that leads on", body = String, content_type = "text/html"),
        (status = 400, description = "`state` is missing", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The state has expired or was used", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn start(
    State(api): State<Api>,
    Query(query): Query<StartQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let AwaitedAuthorization { tenant, label, provider, .. } =
        authorise::awaited(&api.app, &query.state).await?;
    let [tenant, label, provider] = [tenant, label, provider].map(|text| escaped(&text));
    let state = escaped(query.state.expose_secret());
    let page = format!(
        "<p><b>{tenant}</b> asks for access to your account at <b>{provider}</b>, \
         for its connection <b>{label}</b>.</p>\
         <p>Go on only if you know why: it will be able to read that account's devices.</p>\
         <form method=\"post\" action=\"?state={state}\"><button>Go on to {provider}</button></form>"
    );
    Ok(shown(&page, "same-origin"))
}

/// Leads the browser on to the provider, and lets it come back. Needs no key: the `state` authenticates the request.
#[utoipa::path(
    post, path = "/v1/authorize/start", operation_id = "authorize_go_on", tag = "connections",
    params(StartQuery),
    responses(
        (status = 303, description = "On to the provider"),
        (status = 400, description = "`state` is missing", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The request is not from this API's page", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The state has expired or was used", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn go_on(
    State(api): State<Api>,
    headers: HeaderMap,
    Query(query): Query<StartQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let awaited = authorise::awaited(&api.app, &query.state).await?;
    if !is_from_page(&headers, &awaited.origin) {
        return Err(ApiError::ForeignForm);
    }
    let (name, value) = mark(&query.state);
    let secure = if awaited.origin.starts_with("https:") { "; Secure" } else { "" };
    let cookie =
        format!("{name}={value}; Path=/v1/authorize; Max-Age={COOKIE_S}; HttpOnly; SameSite=Lax{secure}");
    Ok((
        StatusCode::SEE_OTHER,
        [
            (header::LOCATION, awaited.url),
            (header::SET_COOKIE, cookie),
            (header::REFERRER_POLICY, "no-referrer".to_owned()),
        ],
    ))
}

/// Completes an authorization. Needs no key: the `state` authenticates the request and works once, in the browser that
/// went on from the page that names the connection.
#[utoipa::path(
    get, path = "/v1/authorize/callback", operation_id = "authorize_callback", tag = "connections",
    params(CallbackQuery),
    responses(
        (status = 200, description = "The connection is authorized", body = String, content_type = "text/html"),
        (status = 400, description = "`state` or `code` is missing", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = "Another browser began this authorization", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The owner refused, or the state has expired or was used", body = Problem,
            content_type = "application/problem+json"),
        (status = 502, description = "The provider returned no token", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn callback(
    State(api): State<Api>,
    headers: HeaderMap,
    Query(query): Query<CallbackQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let state =
        query.state.ok_or_else(|| ApiError::BadQuery("missing `state` query parameter".to_owned()))?;
    let callback = match (query.error, query.code) {
        (Some(error), _) => Callback::Error(error.chars().take(200).collect()),
        (None, Some(code)) => Callback::Code(code),
        (None, None) => return Err(ApiError::BadQuery("missing `code` query parameter".to_owned())),
    };
    let (name, value) = mark(&state);
    if cookie(&headers, &name) != Some(value.as_str()) {
        return Err(ApiError::OtherBrowser);
    }
    let app = api.app.clone();
    // The code works once: its token must be stored even if the browser disconnects meanwhile.
    let finished = api.app.detached.spawn(async move {
        let (_, connection) = authorise::finish(&app, &state, &callback).await?;
        // If this fails, the keeper drains the outbox later.
        let _ = crate::keep::drain(&app).await;
        authorise::named(&app, connection).await
    });
    let (tenant, label) = finished.await.map_err(|error| ApiError::Internal(error.into()))??;
    let [tenant, label] = [tenant, label].map(|text| escaped(&text));
    let page = format!(
        "<p>The connection <b>{label}</b> of <b>{tenant}</b> is authorised. You may close this page.</p>"
    );
    let expired = format!("{name}=; Path=/v1/authorize; Max-Age=0; HttpOnly; SameSite=Lax");
    // The page's URL contains the code and the state.
    Ok(([(header::SET_COOKIE, expired)], shown(&page, "no-referrer")))
}

/// Name and value of the cookie of a browser that went on with this state.
fn mark(state: &SecretString) -> (String, String) {
    let hex = |what: &str| {
        let mut text = String::new();
        for byte in Sha256::new().chain_update(what).chain_update(state.expose_secret()).finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    };
    (format!("paceline_authorize_{}", &hex("name ")[..8]), hex("browser "))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';')).find_map(|pair| {
        let (known, value) = pair.trim().split_once('=')?;
        (known == name).then_some(value)
    })
}

/// Whether a form was sent from a page of this API: another site's would skip the page that names the connection.
fn is_from_page(headers: &HeaderMap, origin: &str) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    match text(HeaderName::from_static("sec-fetch-site")) {
        Some(site) => site == "same-origin",
        // The origin ends where a path of `http.public_url` begins.
        None => {
            text(header::ORIGIN).is_some_and(|from| origin == from || origin.starts_with(&format!("{from}/")))
        }
    }
}

fn shown(page: &str, referrer: &'static str) -> impl IntoResponse + use<> {
    let headers = [
        (header::REFERRER_POLICY, referrer),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, Html(format!("<!doctype html><meta charset=\"utf-8\"><title>Paceline</title>{page}")))
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            c => html.push(c),
        }
    }
    html
}
