//! Endpoints that set preferences and refresh a job now.

use super::Api;
use super::auth::AuthenticatedUser;
use super::error::{ApiError, Problem, RateLimit};
use super::extract::{Json, Path};
use super::refusals::Refusals;
use crate::adhoc::{self, Asker, RefreshStatus};
use crate::keep;
use crate::preference::jobs::{self, DeviceRef, JobPatch};
use crate::provider::Provider;
use crate::read;
use crate::words::{DeviceId, Interval, Job, JobState, Priority, ResourceName};
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// Changes to the job of one resource of one device. At least one is required; those left out stay as they are.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"interval": "30s", "priority": "high", "paused": false}))]
pub(super) struct Preference {
    /// Refresh interval: a number and a unit, from the resource's `minimum_interval` to 31 days.
    #[schema(example = "30s")]
    interval: Option<String>,
    /// Priority: realtime, high, normal, low or background.
    #[schema(value_type = Option<Priority>)]
    priority: Option<String>,
    /// Whether to take the job off the schedule.
    paused: Option<bool>,
}

/// A stored job.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct JobView {
    /// The device.
    #[schema(example = 17)]
    device: DeviceId,
    /// The resource.
    #[schema(example = "state")]
    resource: String,
    /// The requested refresh interval.
    #[schema(example = "30s")]
    interval: String,
    /// The priority.
    priority: Priority,
    /// Whether the job is scheduled.
    state: JobState,
    /// The shortest interval that the provider allows for this resource.
    #[schema(example = "1s")]
    minimum_interval: String,
}

/// Why a preference was not stored.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum PreferenceRefusal {
    /// Malformed JSON, or not an id
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key has role `reader`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such device, not yours, or its provider has no such resource
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The device's provider is no longer defined
    #[response(status = 409, content_type = "application/problem+json")]
    ProviderGone(Problem),
    /// The body exceeds the server's limit
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not `application/json`
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// A value is not accepted; `detail` names the accepted ones
    #[response(status = 422, content_type = "application/problem+json")]
    NotAccepted(Problem),
}

/// Sets the refresh interval, priority or pause of a device's resource.
///
/// Creates the job if the device has none for the resource. A probing job becomes active, and is tried at once.
#[utoipa::path(
    put, path = "/v1/devices/{id}/jobs/{resource}", operation_id = "set_job", tag = "jobs", security(("bearer" = [])),
    params(
        ("id" = i64, Path, description = "The device's number", example = 17),
        ("resource" = String, Path, description = "A resource of the device's provider", example = "state"),
    ),
    request_body = Preference,
    responses((status = 200, description = "The job as stored", body = JobView), PreferenceRefusal, Refusals)
)]
pub(super) async fn put(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path((id, resource)): Path<(DeviceId, String)>,
    Json(preference): Json<Preference>,
) -> Result<axum::Json<JobView>, ApiError> {
    let app = &api.app;
    let device = jobs::device_of(&app.pool, principal.tenant, id).await?.ok_or(ApiError::NoSuchDevice(id))?;
    let provider = app.registry.get(&device.provider).ok_or_else(|| provider_gone(&device))?;
    let resource = find(provider, resource)?;
    let patch = preference.into_patch(resource.minimum)?;
    let job =
        jobs::set(&app.pool, principal.tenant, &device, &resource.name, &patch, resource.default).await?;
    // The preference is committed, whatever happens to Redis: what follows only makes it take effect sooner.
    keep::tell_soon(app, &provider.name, job).await;
    if let Err(error) = read::refresh(app, principal.tenant, &[id]).await {
        tracing::debug!(device = id.0, %error, "could not refresh the cached device");
    }
    let stored = jobs::by_id(&app.pool, &[job.0])
        .await?
        .pop()
        .ok_or_else(|| ApiError::Internal("the job was deleted right after it was stored".into()))?;
    Ok(axum::Json(JobView::new(stored.job, resource.minimum)))
}

/// A requested refresh.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RefreshView {
    /// The device.
    #[schema(example = 17)]
    device: DeviceId,
    /// The resource.
    #[schema(example = "state")]
    resource: String,
    /// Where the job stands.
    status: RefreshStatus,
    /// When the last successful fetch was, null for never. The refresh is done once the device shows a later time.
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
/// does not wait for the fetch; compare the device's `fetched_at`.
#[utoipa::path(
    post, path = "/v1/devices/{id}/jobs/{resource}/refresh", operation_id = "refresh_job", tag = "jobs",
    security(("bearer" = [])),
    params(
        ("id" = i64, Path, description = "The device's number", example = 17),
        ("resource" = String, Path, description = "A resource of the device's provider", example = "state"),
    ),
    responses(
        (
            status = 202, description = "The fetch is scheduled", body = RefreshView,
            headers(("RateLimit-Policy" = String), ("RateLimit" = String))
        ),
        RefreshRefusal,
        Refusals,
    )
)]
pub(super) async fn refresh(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path((id, resource)): Path<(DeviceId, String)>,
) -> Result<(StatusCode, RateLimit, axum::Json<RefreshView>), ApiError> {
    let app = &api.app;
    let device = jobs::device_of(&app.pool, principal.tenant, id).await?.ok_or(ApiError::NoSuchDevice(id))?;
    let provider = app.registry.get(&device.provider).ok_or_else(|| provider_gone(&device))?;
    let name = find(provider, resource)?.name;
    let refresh = adhoc::refresh_now(app, Asker::Tenant, principal.tenant, id, provider, &name).await?;
    let limit = RateLimit::of(adhoc::refresh_bounds(app), refresh.left);
    let fetched_at = refresh.fetched_at.map(|at| at.to_string());
    let view = RefreshView { device: id, resource: name.to_string(), status: refresh.status, fetched_at };
    Ok((StatusCode::ACCEPTED, limit, axum::Json(view)))
}

/// A resource of a provider's definition.
struct DeclaredResource {
    name: ResourceName,
    minimum: Interval,
    default: Interval,
}

fn find(provider: &Provider, asked: String) -> Result<DeclaredResource, ApiError> {
    let found = asked.parse().ok().and_then(|name| Some((name, provider.resource(&asked)?)));
    let Some((name, resource)) = found else {
        let known = provider.resource_names().map(ToString::to_string).collect();
        return Err(ApiError::NoSuchResource { provider: provider.name.to_string(), asked, known });
    };
    Ok(DeclaredResource { name, minimum: resource.interval_min, default: resource.interval_default })
}

fn provider_gone(device: &DeviceRef) -> ApiError {
    ApiError::ProviderGone { device: device.device, provider: device.provider.clone() }
}

impl Preference {
    fn into_patch(self, minimum: Interval) -> Result<JobPatch, ApiError> {
        if self.interval.is_none() && self.priority.is_none() && self.paused.is_none() {
            return Err(ApiError::EmptyPreference);
        }
        let interval = self.interval.map(|text| Interval::parse_within(&text, minimum)).transpose()?;
        let priority = self.priority.map(|text| text.parse()).transpose()?;
        Ok(JobPatch { interval, priority, paused: self.paused })
    }
}

impl JobView {
    fn new(job: Job, minimum: Interval) -> Self {
        Self {
            device: job.device,
            resource: job.resource.to_string(),
            interval: job.interval.to_string(),
            priority: job.priority,
            state: job.state,
            minimum_interval: minimum.to_string(),
        }
    }
}
