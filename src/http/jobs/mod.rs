//! Endpoints that set preferences, tell what they come to, and refresh a job now.

mod many;
mod outlook;
mod precondition;
mod refresh;
mod refreshes;

pub(super) use many::*;
pub(super) use outlook::*;
pub(super) use refresh::*;
pub(super) use refreshes::*;

use super::Api;
use super::auth::{Authenticated, AuthenticatedUser};
use super::error::{ApiError, Problem};
use super::extract::{Json, Path, Query};
use super::refusals::Refusals;
use crate::change::{self, Change};
use crate::words::{DeviceId, JobOrigin, JobState, Priority, Window};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// Changes to a job. At least one is required; those left out stay as they are.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"interval": "30s", "priority": "high", "paused": false}))]
pub(super) struct Preference {
    /// Refresh interval: a number and a unit, from the resource's `minimum_interval` to 31 days. With `windows`, the
    /// one outside of them.
    #[schema(example = "30s")]
    interval: Option<String>,
    /// Other intervals by time of day: up to 16 windows, of which the first that contains an instant counts. They need
    /// `interval` and `zone`, and replace those that there are; an empty list removes them.
    windows: Option<Vec<Window>>,
    /// The IANA time zone of the windows. When clocks change, times of day are those on the wall.
    #[schema(example = "Europe/Oslo")]
    zone: Option<String>,
    /// Priority: realtime, high, normal, low or background.
    #[schema(value_type = Option<Priority>)]
    priority: Option<String>,
    /// Whether to take the job off the schedule.
    paused: Option<bool>,
}

/// Whether to make a change.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangeQuery {
    /// `true`: change nothing, and answer as if it were changed.
    #[serde(default)]
    #[param(default = false)]
    dry_run: bool,
}

/// What is asked of a resource of a device, and what it gets.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct JobView {
    /// The device.
    #[schema(example = 17)]
    device: DeviceId,
    /// The resource.
    #[schema(example = "state")]
    resource: String,
    /// The requested refresh interval; with `windows`, the one outside of them.
    #[schema(example = "30s")]
    interval: String,
    /// Other intervals by time of day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    windows: Vec<Window>,
    /// The time zone of the windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Oslo")]
    zone: Option<String>,
    /// The interval that holds now, if there are windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "30s")]
    interval_now: Option<String>,
    /// When another interval holds next, if there are windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "2026-01-01T22:00:00.000Z")]
    turns_at: Option<String>,
    /// Where this preference stands: the nearest of device, group (a home or site), connection and provider counts.
    from: JobOrigin,
    /// The priority.
    priority: Priority,
    /// Whether the job is scheduled.
    state: JobState,
    /// The shortest interval that the provider allows for this resource.
    #[schema(example = "1s")]
    minimum_interval: String,
    /// How often it is refreshed in the long run, under the quotas and beside all other jobs; null if it is not
    /// scheduled, cannot be served, or this could not be computed in time.
    #[schema(required = true, example = "47s")]
    effective_interval: Option<String>,
    /// The same, ms.
    #[schema(required = true, example = 46_552)]
    effective_interval_ms: Option<u64>,
    /// What keeps it from the interval it asks for; null if it gets that.
    #[schema(required = true, example = "quota hour of connection 3 allows 500 in 1h")]
    limited_by: Option<String>,
}

/// Why a preference was not stored.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum PreferenceRefusal {
    /// Malformed JSON, not an id, or an invalid query parameter or `If-Match`
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
    /// The job is not as `If-Match` says; nothing was changed
    #[response(status = 412, content_type = "application/problem+json")]
    Outdated(Problem),
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

/// Returns what is asked of a device's resource, and what it gets.
#[utoipa::path(
    get, path = "/v1/devices/{id}/jobs/{resource}", operation_id = "get_job", tag = "jobs",
    security(("bearer" = [])),
    params(
        ("id" = i64, Path, description = "The device's number", example = 17),
        ("resource" = String, Path, description = "A resource of the device's provider", example = "state"),
    ),
    responses(
        (status = 200, description = "The job", body = JobView,
            headers(("ETag" = String, description = "The preference's version, for `If-Match`"))),
        (status = 400, description = "Not an id", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such device, not yours, its provider has no such resource, or there is no job \
            for it yet", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The device's provider is no longer defined", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn show(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    Path((id, resource)): Path<(DeviceId, String)>,
) -> Result<Response, ApiError> {
    Ok(answer(change::job(&api.app, &api.plans, principal.tenant, id, &resource).await?))
}

/// Sets the refresh interval, priority or pause of a device's resource, and tells what it gets.
///
/// Creates the job if the device has none for the resource. A probing job becomes active, and is tried at once. With
/// `If-Match`, only a job that is as you read it is changed.
#[utoipa::path(
    put, path = "/v1/devices/{id}/jobs/{resource}", operation_id = "set_job", tag = "jobs", security(("bearer" = [])),
    params(
        ("id" = i64, Path, description = "The device's number", example = 17),
        ("resource" = String, Path, description = "A resource of the device's provider", example = "state"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the job as you read it, or `*`: any job \
            that there is", example = "\"3\""),
        ChangeQuery,
    ),
    request_body = Preference,
    responses(
        (status = 200, description = "The job as stored; with `dry_run`, as it would be", body = JobView,
            headers(("ETag" = String, description = "The preference's version, for `If-Match`"))),
        PreferenceRefusal,
        Refusals,
    )
)]
pub(super) async fn put(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path((id, resource)): Path<(DeviceId, String)>,
    Query(ChangeQuery { dry_run }): Query<ChangeQuery>,
    headers: HeaderMap,
    Json(preference): Json<Preference>,
) -> Result<Response, ApiError> {
    let precondition = precondition::read(&headers)?;
    let change = preference.into_change()?;
    let changed = change::set_job(
        &api.app,
        &api.plans,
        principal.tenant,
        id,
        &resource,
        &change,
        precondition.as_ref(),
        dry_run,
    );
    Ok(answer(changed.await?))
}

/// Has a job give up the preference of its own: the nearest of its home or site, its connection and its provider
/// counts.
#[utoipa::path(
    delete, path = "/v1/devices/{id}/jobs/{resource}", operation_id = "follow_default", tag = "jobs",
    security(("bearer" = [])),
    params(
        ("id" = i64, Path, description = "The device's number", example = 17),
        ("resource" = String, Path, description = "A resource of the device's provider", example = "state"),
    ),
    responses(
        (status = 200, description = "The job as it is now", body = JobView,
            headers(("ETag" = String, description = "The preference's version, for `If-Match`"))),
        PreferenceRefusal,
        Refusals,
    )
)]
pub(super) async fn follow(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path((id, resource)): Path<(DeviceId, String)>,
) -> Result<Response, ApiError> {
    change::follow_default(&api.app, principal.tenant, id, &resource).await?;
    Ok(answer(change::job(&api.app, &api.plans, principal.tenant, id, &resource).await?))
}

impl Preference {
    pub(super) fn into_change(self) -> Result<Change, ApiError> {
        let Self { interval, windows, zone, priority, paused } = self;
        if interval.is_none() && windows.is_none() && zone.is_none() && priority.is_none() && paused.is_none()
        {
            return Err(ApiError::NothingToChange("interval, windows, priority and paused"));
        }
        let priority = priority.map(|text| text.parse()).transpose()?;
        Ok(Change { interval, windows, zone, priority, paused })
    }
}

/// The job with its version as entity tag. What it gets changes without it: the tag is for `If-Match` only.
fn answer(found: change::JobView) -> Response {
    // A job that there is not yet has no version.
    let version = Some(found.job.version).filter(|version| *version > 0);
    let tag = version.and_then(|version| HeaderValue::from_str(&format!("\"{version}\"")).ok());
    let tag = tag.map(|tag| [(header::ETAG, tag)]);
    (tag, axum::Json(JobView::from(found))).into_response()
}

impl From<change::JobView> for JobView {
    fn from(found: change::JobView) -> Self {
        let change::JobView { job, windows, origin, at, minimum, gets, waits_for_connection } = found;
        let in_force = windows.as_ref().map(|windows| windows.at(at));
        let waits = || {
            format!(
                "connection {0} is paused, closed or refused by its provider; GET /v1/connections/{0} says which",
                job.connection
            )
        };
        let limited_by = match &gets {
            _ if waits_for_connection => Some(waits()),
            Some(gets) => gets.limited_by.clone(),
            None => None,
        };
        Self {
            device: job.device,
            resource: job.resource.to_string(),
            interval: windows.as_ref().map_or(job.interval, |windows| windows.base).to_string(),
            zone: windows.as_ref().map(|windows| windows.timetable.zone_name().to_owned()),
            windows: windows.map(|windows| windows.timetable.windows()).unwrap_or_default(),
            interval_now: in_force.as_ref().map(|it| it.interval.to_string()),
            turns_at: in_force.map(|it| it.turns_at.to_string()),
            from: origin,
            priority: job.priority,
            state: job.state,
            minimum_interval: minimum.to_string(),
            effective_interval: gets.as_ref().and_then(|gets| gets.text.clone()),
            effective_interval_ms: gets.and_then(|gets| gets.effective_ms).map(|ms| ms.round() as u64),
            limited_by,
        }
    }
}
