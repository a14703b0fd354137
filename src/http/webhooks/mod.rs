//! Webhooks: addresses to which the changes of a tenant's devices are posted.

pub(super) mod act;
mod view;

use super::Api;
use super::auth::AuthenticatedUser;
use super::error::{ApiError, Problem};
use super::extract::{Json, Path};
use super::refusals::Refusals;
use crate::preference::webhooks;
use crate::webhook::{self, WebhookChange, WebhookError};
use crate::words::WebhookId;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use view::{FilterRequest, WebhookView};

/// A new webhook.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://example.com/paceline", "label": "backend"}))]
pub(super) struct WebhookRequest {
    /// Where changes are posted: `https://` and a host of the public internet.
    url: String,
    /// Your name for it.
    #[serde(default)]
    label: String,
    /// Which changes.
    #[serde(default)]
    filter: FilterRequest,
}

/// What to change of a webhook; what is not given stays as it is.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"enabled": true}))]
pub(super) struct WebhookPatch {
    /// Where changes are posted.
    url: Option<String>,
    /// Your name for it.
    label: Option<String>,
    /// Which changes: replaces the whole filter.
    filter: Option<FilterRequest>,
    /// `true` enables it again, and tries at once; `false` disables it.
    enabled: Option<bool>,
}

/// A new webhook with its secret.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct NewWebhookView {
    #[serde(flatten)]
    webhook: WebhookView,
    /// What signs deliveries. Store it now: it is not shown again.
    #[schema(example = "whsec_…")]
    secret: String,
}

/// Your webhooks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct WebhookList {
    /// Oldest first.
    webhooks: Vec<WebhookView>,
}

/// Why a webhook was not stored, changed or found.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum WebhookRefusal {
    /// Malformed JSON, or not an id
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key has role `reader`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such webhook, or not yours; or no such connection
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// You have as many webhooks as you may have
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// The body exceeds the server's limit
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not `application/json`
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// The address is not accepted, or a field is
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
}

/// Shows a secret, once.
fn shown(secret: &SecretString) -> String {
    secret.expose_secret().to_owned()
}

/// Lists your webhooks, and how deliveries go.
#[utoipa::path(
    get, path = "/v1/webhooks", operation_id = "list_webhooks", tag = "webhooks", security(("bearer" = [])),
    responses(
        (status = 200, description = "Your webhooks", body = WebhookList),
        (status = 403, description = "The key has role `reader`", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
) -> Result<axum::Json<WebhookList>, ApiError> {
    let found = webhooks::list(&api.app.pool, principal.tenant).await?;
    Ok(axum::Json(WebhookList { webhooks: found.into_iter().map(WebhookView::from).collect() }))
}

/// Adds a webhook: changes of your devices are posted there from now on, signed by Standard Webhooks.
///
/// Each post is `{"type": "changes", "timestamp": …, "data": {"events": [{"id", "type", "data"}, …]}}`. Events are
/// those of `GET /v1/stream`: `reading`, `device` and `gone`, in order, up to a hundred at a time. `"resync": true`
/// beside `events` says that changes were missed: read the devices anew. Answer 2xx within 15 s. Otherwise the post is
/// repeated with the same `webhook-id`, ever more rarely; answer 410 to have no more. After days of failure the webhook
/// is disabled.
#[utoipa::path(
    post, path = "/v1/webhooks", operation_id = "add_webhook", tag = "webhooks", security(("bearer" = [])),
    request_body = WebhookRequest,
    responses(
        (status = 201, description = "The webhook is stored", body = NewWebhookView),
        WebhookRefusal,
        Refusals,
    )
)]
pub(super) async fn add(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Json(new): Json<WebhookRequest>,
) -> Result<(StatusCode, axum::Json<NewWebhookView>), ApiError> {
    let filter = new.filter.stored(&api, principal.tenant).await?;
    let (stored, secret) = webhook::create(&api.app, principal.tenant, &new.label, &new.url, filter).await?;
    let view = NewWebhookView { webhook: stored.into(), secret: shown(&secret) };
    Ok((StatusCode::CREATED, axum::Json(view)))
}

/// Shows a webhook, and how deliveries to it go.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", operation_id = "show_webhook", tag = "webhooks", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The webhook's number", example = 5)),
    responses((status = 200, description = "The webhook", body = WebhookView), WebhookRefusal, Refusals)
)]
pub(super) async fn show(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
) -> Result<axum::Json<WebhookView>, ApiError> {
    let found = webhooks::find(&api.app.pool, principal.tenant, WebhookId(id)).await;
    Ok(axum::Json(found.map_err(WebhookError::from)?.into()))
}

/// Changes a webhook, enables or disables it.
#[utoipa::path(
    patch, path = "/v1/webhooks/{id}", operation_id = "change_webhook", tag = "webhooks", security(("bearer" = [])),
    request_body = WebhookPatch, params(("id" = i64, Path, description = "The webhook's number", example = 5)),
    responses((status = 200, description = "The webhook is changed", body = WebhookView), WebhookRefusal, Refusals)
)]
pub(super) async fn change(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
    Json(patch): Json<WebhookPatch>,
) -> Result<axum::Json<WebhookView>, ApiError> {
    let WebhookPatch { url, label, filter, enabled } = patch;
    let filter = match filter {
        Some(filter) => Some(filter.stored(&api, principal.tenant).await?),
        None => None,
    };
    let change = WebhookChange { label, url, filter, enabled };
    Ok(axum::Json(webhook::change(&api.app, principal.tenant, WebhookId(id), change).await?.into()))
}

/// Deletes a webhook. A post under way may still arrive.
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", operation_id = "delete_webhook", tag = "webhooks", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The webhook's number", example = 5)),
    responses((status = 204, description = "The webhook is deleted"), WebhookRefusal, Refusals)
)]
pub(super) async fn remove(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
) -> Result<StatusCode, ApiError> {
    let removed = webhooks::remove(&api.app.pool, principal.tenant, WebhookId(id)).await;
    removed.map_err(WebhookError::from)?;
    Ok(StatusCode::NO_CONTENT)
}
