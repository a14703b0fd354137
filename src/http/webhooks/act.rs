//! What is done with a webhook: its secret is rotated, it is tested, it is delivered to again.

use super::{WebhookRefusal, shown};
use crate::http::Api;
use crate::http::auth::AuthenticatedUser;
use crate::http::error::ApiError;
use crate::http::extract::{Json, Path};
use crate::http::refusals::Refusals;
use crate::webhook;
use crate::words::WebhookId;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest test of a webhook beside the rest of the request.
pub(in crate::http) const TEST_MAX: Duration = Duration::from_secs(15);

/// A webhook's new secret.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct RotatedSecret {
    /// What signs deliveries. Store it now: it is not shown again.
    #[schema(example = "whsec_…")]
    secret: String,
    /// Until when the former secret signs, too: each delivery has two signatures.
    #[schema(example = "2026-01-01T00:10:00.000Z")]
    former_until: String,
}

/// What the receiver said.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct TestedView {
    /// Whether it counts as delivered.
    delivered: bool,
    /// The response's status; null: there was none.
    #[schema(example = 204)]
    status: Option<u16>,
    /// How long it took, ms; null: there was no response.
    #[schema(example = 83)]
    ms: Option<u64>,
    /// Why it does not count as delivered.
    error: Option<String>,
}

/// From when to deliver again.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ReplayRequest {
    /// An instant (RFC 3339), or the id of an event: what came after it is delivered again.
    #[schema(example = "2026-01-01T00:00:00Z")]
    since: String,
}

/// From when it is delivered to again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ReplayView {
    /// Changes after the event of this id are delivered again.
    #[schema(example = "1760000000000-0")]
    after: String,
    /// When that was.
    #[schema(example = "2026-01-01T00:00:00.000Z")]
    from: String,
    /// Whether changes are not kept any more that you asked for: read your devices anew.
    cut: bool,
}

/// Gives a webhook a new secret. The former one signs beside it for another 24 hours.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate", operation_id = "rotate_webhook_secret", tag = "webhooks",
    security(("bearer" = [])), params(("id" = i64, Path, description = "The webhook's number", example = 5)),
    responses((status = 200, description = "The new secret", body = RotatedSecret), WebhookRefusal, Refusals)
)]
pub(in crate::http) async fn rotate(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
) -> Result<axum::Json<RotatedSecret>, ApiError> {
    let (secret, until) = webhook::rotate(&api.app, principal.tenant, WebhookId(id)).await?;
    Ok(axum::Json(RotatedSecret { secret: shown(&secret), former_until: until.to_string() }))
}

/// Posts a signed `{"type": "test"}` now, whatever the webhook's state, and returns what the receiver said.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/test", operation_id = "test_webhook", tag = "webhooks",
    security(("bearer" = [])), params(("id" = i64, Path, description = "The webhook's number", example = 5)),
    responses((status = 200, description = "What came of it", body = TestedView), WebhookRefusal, Refusals)
)]
pub(in crate::http) async fn test(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
) -> Result<axum::Json<TestedView>, ApiError> {
    let tested = webhook::send_test(&api.app, principal.tenant, WebhookId(id)).await?;
    Ok(axum::Json(TestedView {
        delivered: tested.error.is_none(),
        status: tested.status,
        ms: tested.took.map(|took| took.as_millis() as u64),
        error: tested.error,
    }))
}

/// Delivers changes again: those since an instant or an event, as far as they are kept.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/replay", operation_id = "replay_webhook", tag = "webhooks",
    security(("bearer" = [])), request_body = ReplayRequest,
    params(("id" = i64, Path, description = "The webhook's number", example = 5)),
    responses((status = 200, description = "From when it replays", body = ReplayView), WebhookRefusal, Refusals)
)]
pub(in crate::http) async fn replay(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
    Json(asked): Json<ReplayRequest>,
) -> Result<axum::Json<ReplayView>, ApiError> {
    let replay = webhook::replay(&api.app, principal.tenant, WebhookId(id), &asked.since).await?;
    Ok(axum::Json(ReplayView {
        after: replay.after.to_string(),
        from: replay.after.at().to_string(),
        cut: replay.cut,
    }))
}
