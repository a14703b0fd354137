//! Setting preferences, and refreshing at once.

use super::Api;
use super::auth::Owner;
use super::error::{ApiError, Problem};
use super::extract::{Json, Path};
use super::openapi::Refusals;
use crate::adhoc::{self, RefreshStatus};
use crate::keep;
use crate::preference::jobs::{self, DeviceRef, JobPatch};
use crate::provider::Provider;
use crate::read;
use crate::words::{DeviceId, Interval, Job, JobState, Priority, ResourceName};
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// What is wanted of one resource of one device. At least one must be given; what is left out stays as it is.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"interval": "30s", "priority": "high", "paused": false}))]
pub(super) struct Preference {
    /// How often: a number and a unit, from the resource's `minimum_interval` to 31 days.
    #[schema(example = "30s")]
    interval: Option<String>,
    /// How much it matters: realtime, high, normal, low or background.
    #[schema(value_type = Option<Priority>)]
    priority: Option<String>,
    /// Whether to leave it off the schedule.
    paused: Option<bool>,
}

/// A preference as it is stored.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct JobView {
    /// The device.
    #[schema(example = 17)]
    device: DeviceId,
    /// Which of its resources.
    #[schema(example = "state")]
    resource: String,
    /// How often it is asked to be refreshed.
    #[schema(example = "30s")]
    interval: String,
    /// How much it matters.
    priority: Priority,
    /// Whether it is scheduled.
    state: JobState,
    /// The shortest interval that the provider allows for this resource.
    #[schema(example = "1s")]
    minimum_interval: String,
}

/// Why a preference was not stored.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum NotSet {
    /// Malformed JSON, or not an id
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key is a reader's
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such device, not yours, or its provider has no such resource
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The device's provider is no longer defined
    #[response(status = 409, content_type = "application/problem+json")]
    ProviderGone(Problem),
    /// The body is larger than the server takes
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not `application/json`
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// Understood, and not accepted: `detail` names what would be
    #[response(status = 422, content_type = "application/problem+json")]
    NotAccepted(Problem),
}

/// Sets how often a resource of a device is refreshed, and how much it matters.
///
/// Makes the job if the device has none for the resource yet. A parked job becomes active again.
#[utoipa::path(
    put, path = "/v1/devices/{id}/jobs/{resource}", operation_id = "set_job", tag = "jobs", security(("bearer" = [])),
    params(
        ("id" = i64, Path, description = "The device's number", example = 17),
        ("resource" = String, Path, description = "One of its provider's resources", example = "state"),
    ),
    request_body = Preference,
    responses((status = 200, description = "The job as it is now stored", body = JobView), NotSet, Refusals)
)]
pub(super) async fn put(
    State(api): State<Api>,
    Owner(who): Owner,
    Path((id, resource)): Path<(DeviceId, String)>,
    Json(asked): Json<Preference>,
) -> Result<axum::Json<JobView>, ApiError> {
    let app = &api.app;
    let subject = jobs::subject(&app.pool, who.tenant, id).await?.ok_or(ApiError::NoSuchDevice(id))?;
    let provider = app.registry.get(&subject.provider).ok_or_else(|| provider_gone(&subject))?;
    let known = find(provider, resource)?;
    let patch = asked.patch(known.minimum)?;
    let job = jobs::set(&app.pool, who.tenant, &subject, &known.name, &patch, known.default).await?;
    // From here on the preference is kept, whatever Redis does: what follows only makes it felt at once.
    keep::tell_soon(app, &provider.name, job).await;
    if let Err(error) = read::refresh(app, who.tenant, &[id]).await {
        tracing::debug!(device = id.0, %error, "cached device not renewed");
    }
    let stored = jobs::by_id(&app.pool, &[job.0])
        .await?
        .pop()
        .ok_or_else(|| ApiError::Internal("the job is gone again".into()))?;
    Ok(axum::Json(JobView::new(stored.job, known.minimum)))
}

/// A refresh that was asked for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct RefreshView {
    /// The device.
    #[schema(example = 17)]
    device: DeviceId,
    /// Which of its resources.
    #[schema(example = "state")]
    resource: String,
    /// What came of it.
    status: RefreshStatus,
    /// When the last good answer so far came, null for never: once the device shows a later one, it has run.
    #[schema(required = true, example = "2026-03-01T08:30:00.000Z")]
    fetched_at: Option<String>,
}

/// Why nothing is refreshed.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum NotRefreshed {
    /// Not an id
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key is a reader's
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such device, not yours, its provider has no such resource, or it is not asked for yet
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// Not scheduled: paused, parked, its connection's credential is refused, or its provider is no longer defined
    #[response(status = 409, content_type = "application/problem+json")]
    NotScheduled(Problem),
}

/// Fetches a resource of a device now: ahead of everything that waits, as soon as the provider's quotas let it.
///
/// Its next turn is kept. Asked twice before it ran, it runs once. 202 does not wait for the fetch: the device's
/// `fetched_at` tells when it came.
#[utoipa::path(
    post, path = "/v1/devices/{id}/jobs/{resource}/refresh", operation_id = "refresh_job", tag = "jobs",
    security(("bearer" = [])),
    params(
        ("id" = i64, Path, description = "The device's number", example = 17),
        ("resource" = String, Path, description = "One of its provider's resources", example = "state"),
    ),
    responses((status = 202, description = "It will be fetched", body = RefreshView), NotRefreshed, Refusals)
)]
pub(super) async fn refresh(
    State(api): State<Api>,
    Owner(who): Owner,
    Path((id, resource)): Path<(DeviceId, String)>,
) -> Result<(StatusCode, axum::Json<RefreshView>), ApiError> {
    let app = &api.app;
    let subject = jobs::subject(&app.pool, who.tenant, id).await?.ok_or(ApiError::NoSuchDevice(id))?;
    let provider = app.registry.get(&subject.provider).ok_or_else(|| provider_gone(&subject))?;
    let name = find(provider, resource)?.name;
    let done = adhoc::refresh_now(app, who.tenant, id, &provider.name, &name).await?;
    let fetched_at = done.fetched_at.map(|at| at.to_string());
    let view = RefreshView { device: id, resource: name.to_string(), status: done.status, fetched_at };
    Ok((StatusCode::ACCEPTED, axum::Json(view)))
}

/// What the provider's definition says of a resource.
struct Known {
    name: ResourceName,
    minimum: Interval,
    default: Interval,
}

fn find(provider: &Provider, asked: String) -> Result<Known, ApiError> {
    let found = asked.parse().ok().and_then(|name| Some((name, provider.resource(&asked)?)));
    let Some((name, resource)) = found else {
        let known = provider.resource_names().map(ToString::to_string).collect();
        return Err(ApiError::NoSuchResource { provider: provider.name.to_string(), asked, known });
    };
    Ok(Known { name, minimum: resource.interval_min, default: resource.interval_default })
}

fn provider_gone(subject: &DeviceRef) -> ApiError {
    ApiError::ProviderGone { device: subject.device, provider: subject.provider.clone() }
}

impl Preference {
    fn patch(self, minimum: Interval) -> Result<JobPatch, ApiError> {
        if self.interval.is_none() && self.priority.is_none() && self.paused.is_none() {
            return Err(ApiError::NothingAsked);
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
