//! The endpoint that refreshes a job now.

use crate::http::Api;
use crate::http::auth::AuthenticatedUser;
use crate::http::error::{ApiError, Problem, RateLimit};
use crate::http::extract::Path;
use crate::http::idempotency::{IdempotencyKey, NotServed};
use crate::http::refusals::Refusals;
use crate::preference::jobs;
use crate::provider::Provider;
use crate::refresh::{self, Asker, RefreshStatus};
use crate::words::{DeviceId, ResourceName};
use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use serde::Serialize;

/// A requested refresh.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct RefreshView {
    /// The device.
    #[schema(example = 17)]
    device: DeviceId,
    /// The resource.
    #[schema(example = "state")]
    resource: String,
    /// The refresh's number: `GET /v1/refreshes/{id}` tells how it ends.
    #[schema(example = 812)]
    refresh: i64,
    /// Where the job stands.
    status: RefreshStatus,
    /// When the last successful fetch was, null for never.
    #[schema(required = true, example = "2026-03-01T08:30:00.000Z")]
    fetched_at: Option<String>,
}

/// Why a refresh was refused.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum RefreshRefusal {
    /// Not an id
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key has role `reader`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such device, not yours, its provider has no such resource, or there is no job for it yet
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The job is paused, the connection's credential was refused, or the provider is no longer defined
    #[response(status = 409, content_type = "application/problem+json")]
    NotScheduled(Problem),
    /// You asked for too many refreshes, or for one of this job just now; `Retry-After` says when to try again
    #[response(
        status = 429, content_type = "application/problem+json",
        headers(("Retry-After" = u64, description = "Seconds"), ("RateLimit-Policy" = String), ("RateLimit" = String))
    )]
    TooMany(Problem),
}

/// Fetches a resource of a device ahead of all waiting jobs, as soon as the provider's quotas allow.
///
/// The job's regular schedule stays as it is. Repeated requests before the fetch cause one fetch. The response (202)
/// does not wait for the fetch: `GET /v1/refreshes/{id}` does, which `Location` names.
#[utoipa::path(
    post, path = "/v1/devices/{id}/jobs/{resource}/refresh", operation_id = "refresh_job", tag = "jobs",
    security(("bearer" = [])),
    params(
        IdempotencyKey,
        ("id" = i64, Path, description = "The device's number", example = 17),
        ("resource" = String, Path, description = "A resource of the device's provider", example = "state"),
    ),
    responses(
        NotServed,
        (
            status = 202, description = "The fetch is scheduled", body = RefreshView,
            headers(("Location" = String), ("RateLimit-Policy" = String), ("RateLimit" = String))
        ),
        RefreshRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn refresh_job(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path((id, resource)): Path<(DeviceId, String)>,
) -> Result<(StatusCode, [(HeaderName, String); 1], RateLimit, axum::Json<RefreshView>), ApiError> {
    let app = &api.app;
    let device = jobs::device_of(&app.pool, principal.tenant, id).await?.ok_or(ApiError::NoSuchDevice(id))?;
    let provider = app
        .registry
        .get(&device.provider)
        .ok_or_else(|| ApiError::ProviderGone { device: id, provider: device.provider.clone() })?;
    let name = find(provider, resource)?;
    let asked = refresh::refresh_now(app, Asker::Tenant, principal.tenant, id, &name).await?;
    let limit = RateLimit::of(refresh::bounds(app), asked.left);
    let view = RefreshView {
        device: id,
        resource: name.to_string(),
        refresh: asked.id,
        status: asked.status,
        fetched_at: asked.fetched_at.map(|at| at.to_string()),
    };
    Ok((StatusCode::ACCEPTED, super::location(asked.id), limit, axum::Json(view)))
}

/// The name of a resource of the provider's definition.
fn find(provider: &Provider, asked: String) -> Result<ResourceName, ApiError> {
    let found = asked.parse().ok().filter(|_| provider.resource(&asked).is_some());
    found.ok_or_else(|| {
        let known = provider.resource_names().map(ToString::to_string).collect();
        ApiError::NoSuchResource { provider: provider.name.to_string(), asked, known }
    })
}
