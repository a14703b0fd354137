//! Endpoints that refresh many jobs now, and tell how refreshes end.

use crate::http::Api;
use crate::http::auth::{Authenticated, AuthenticatedUser};
use crate::http::error::{ApiError, Problem, RateLimit};
use crate::http::extract::{Json, Path, Query};
use crate::http::idempotency::{IdempotencyKey, NotServed};
use crate::http::refusals::Refusals;
use crate::refresh::{
    self, Asked, AskedJob, Asker, JobFilter, JobProgress, JobProgressState, Progress, RefreshStatus,
};
use crate::words::{DeviceId, Interval};
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// The longest wait for the end of a refresh.
pub(in crate::http) const WAIT_MAX: Duration = Duration::from_secs(30);
/// More devices in one request are refused.
const IDS_MAX: usize = 500;

/// Which jobs to refresh: those that are all of this. Without any, all of yours.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"connection": "home", "resource": "state"}))]
pub(in crate::http) struct RefreshRequest {
    /// Jobs of these devices, at most 500.
    devices: Option<Vec<DeviceId>>,
    /// Jobs at this provider.
    provider: Option<String>,
    /// Jobs of the connection with this label or number.
    connection: Option<String>,
    /// Jobs of devices of this home or site.
    group: Option<String>,
    /// Jobs of devices of this model.
    model: Option<String>,
    /// Jobs of this resource.
    resource: Option<String>,
}

/// A refresh of many jobs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ManyView {
    /// Its number: `GET /v1/refreshes/{id}` tells how it ends.
    #[schema(example = 812)]
    refresh: i64,
    /// The jobs that you described.
    jobs: Vec<AskedView>,
}

/// What became of the request for one job.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct AskedView {
    /// Its device.
    #[schema(example = 17)]
    device: DeviceId,
    /// Its resource.
    #[schema(example = "state")]
    resource: String,
    /// Where it stands; null if it is not refreshed.
    #[schema(required = true)]
    status: Option<RefreshStatus>,
    /// Why it is not; null if it is.
    #[schema(required = true, example = "state of device 17 is paused")]
    refused: Option<String>,
}

/// How far a refresh is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ProgressView {
    /// Its number.
    #[schema(example = 812)]
    refresh: i64,
    /// When it was asked for.
    #[schema(example = "2026-03-01T08:30:00.000Z")]
    asked_at: String,
    /// Whether none of its jobs waits or runs any more.
    ended: bool,
    /// Its jobs, but for those that were removed since.
    jobs: Vec<JobProgressView>,
}

/// How far one job of a refresh is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct JobProgressView {
    /// Its device.
    #[schema(example = 17)]
    device: DeviceId,
    /// Its resource.
    #[schema(example = "state")]
    resource: String,
    /// How far it is.
    state: JobProgressState,
    /// When the last successful fetch was, null for never.
    #[schema(required = true, example = "2026-03-01T08:30:01.250Z")]
    fetched_at: Option<String>,
    /// What its last call failed by, or why it does not run; null if there is nothing to say.
    #[schema(required = true, example = "transient: HTTP 503")]
    error: Option<String>,
}

/// How long to wait.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct WaitQuery {
    /// Answer once the refresh has ended, or after so long, whichever is first: at most `30s`. Without it, at once.
    #[param(example = "10s")]
    wait: Option<String>,
}

/// Why no job is refreshed.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum ManyRefusal {
    /// Malformed JSON
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key has role `reader`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// None of your jobs is as you describe
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// All of them are paused, their connections' credentials were refused, or their providers are no longer defined
    #[response(status = 409, content_type = "application/problem+json")]
    NotScheduled(Problem),
    /// The body exceeds the server's limit
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not `application/json`
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// More than 500 jobs are as you describe, or a value is not accepted
    #[response(status = 422, content_type = "application/problem+json")]
    NotAccepted(Problem),
    /// You asked for too many refreshes, or for these just now; `Retry-After` says when to try again
    #[response(
        status = 429, content_type = "application/problem+json",
        headers(("Retry-After" = u64, description = "Seconds"), ("RateLimit-Policy" = String), ("RateLimit" = String))
    )]
    TooMany(Problem),
}

/// Fetches what you describe ahead of all waiting jobs, as soon as the providers' quotas allow.
///
/// The jobs of a device, a home, a connection, or all of yours: at most 500. The response (202) lists them all, with a
/// reason for each that cannot be refreshed now. It does not wait for the fetches; `GET /v1/refreshes/{id}`, which
/// `Location` names, does.
#[utoipa::path(
    post, path = "/v1/refreshes", operation_id = "refresh_jobs", tag = "jobs", security(("bearer" = [])),
    params(IdempotencyKey),
    request_body = RefreshRequest,
    responses(
        NotServed,
        (
            status = 202, description = "At least one fetch is scheduled", body = ManyView,
            headers(("Location" = String), ("RateLimit-Policy" = String), ("RateLimit" = String))
        ),
        ManyRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn refresh_many(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Json(request): Json<RefreshRequest>,
) -> Result<(StatusCode, [(HeaderName, String); 1], RateLimit, axum::Json<ManyView>), ApiError> {
    let (app, filter) = (&api.app, request.into_filter(&api)?);
    let Asked { id, jobs, left } =
        refresh::refresh_all(app, Asker::Tenant, principal.tenant, &filter).await?;
    let limit = RateLimit::of(refresh::bounds(app), left);
    let view = ManyView { refresh: id, jobs: jobs.into_iter().map(AskedView::from).collect() };
    Ok((StatusCode::ACCEPTED, location(id), limit, axum::Json(view)))
}

/// Returns how far a refresh is; with `wait`, once it has ended.
///
/// Refreshes are kept for a day. The provider's quotas may let one wait for longer than you do: ask again.
#[utoipa::path(
    get, path = "/v1/refreshes/{id}", operation_id = "get_refresh", tag = "jobs", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The refresh's number", example = 812), WaitQuery),
    responses(
        (status = 200, description = "How far it is", body = ProgressView),
        (status = 400, description = "Not an id, or an invalid query parameter", body = Problem,
            content_type = "application/problem+json"),
        (status = 404, description = "No such refresh, not yours, or not any more", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(in crate::http) async fn show_refresh(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    Path(id): Path<i64>,
    Query(query): Query<WaitQuery>,
) -> Result<axum::Json<ProgressView>, ApiError> {
    let (app, tenant) = (&api.app, principal.tenant);
    let Some(wait) = query.wait()? else {
        return Ok(axum::Json(refresh::progress(app, tenant, id).await?.into()));
    };
    let ended =
        api.stop.run_until_cancelled(refresh::wait(app, &api.live, tenant, id, Instant::now() + wait)).await;
    let progress = match ended {
        Some(progress) => progress?,
        None => refresh::progress(app, tenant, id).await?,
    };
    Ok(axum::Json(progress.into()))
}

/// Where a refresh is read.
pub(super) fn location(id: i64) -> [(HeaderName, String); 1] {
    [(header::LOCATION, format!("/v1/refreshes/{id}"))]
}

impl RefreshRequest {
    fn into_filter(self, api: &Api) -> Result<JobFilter, ApiError> {
        let Self { devices: ids, provider, connection, group, model, resource } = self;
        if let Some(asked) = ids.as_ref().map(Vec::len).filter(|asked| *asked > IDS_MAX) {
            return Err(ApiError::TooManyIds { asked, max: IDS_MAX });
        }
        if let Some(provider) = &provider {
            api.app.registry.find(provider).map_err(ApiError::NoSuchProvider)?;
        }
        // Postgres refuses text with a NUL: there is nothing of such a name.
        if [&connection, &group, &model, &resource].into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(ApiError::NoSuchJobs);
        }
        Ok(JobFilter { ids, provider, connection, group, model, resource, ..JobFilter::default() })
    }
}

impl WaitQuery {
    fn wait(&self) -> Result<Option<Duration>, ApiError> {
        let Some(text) = &self.wait else { return Ok(None) };
        let wait: Interval = text.parse().map_err(|error| ApiError::BadQuery(format!("wait: {error}")))?;
        let wait = Duration::from_millis(wait.as_ms());
        if wait > WAIT_MAX {
            return Err(ApiError::BadQuery("wait must be at most 30s; ask again after it".to_owned()));
        }
        Ok(Some(wait))
    }
}

impl From<AskedJob> for AskedView {
    fn from(job: AskedJob) -> Self {
        let AskedJob { device, resource, status } = job;
        let (status, refused) = match status {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(ApiError::from(error).to_string())),
        };
        Self { device, resource: resource.to_string(), status, refused }
    }
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        let Progress { id, asked_at, ended, jobs } = progress;
        let jobs = jobs.into_iter().map(JobProgressView::from).collect();
        Self { refresh: id, asked_at: asked_at.to_string(), ended, jobs }
    }
}

impl From<JobProgress> for JobProgressView {
    fn from(job: JobProgress) -> Self {
        let JobProgress { device, resource, state, fetched_at, error } = job;
        let fetched_at = fetched_at.map(|at| at.to_string());
        Self { device, resource: resource.to_string(), state, fetched_at, error }
    }
}
