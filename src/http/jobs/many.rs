//! The endpoint that changes many jobs at once.

use super::Preference;
use crate::change::{self, JobFilter};
use crate::http::Api;
use crate::http::auth::AuthenticatedUser;
use crate::http::devices;
use crate::http::error::{ApiError, Problem};
use crate::http::extract::{Json, Query};
use crate::http::refusals::Refusals;
use crate::words::{DeviceId, Interval, JobState};
use axum::extract::State;
use serde::{Deserialize, Serialize};

/// Which jobs to change. Without any filter, all of yours.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct JobsQuery {
    /// `true`: change nothing, and answer as if it were changed.
    #[serde(default)]
    #[param(default = false)]
    dry_run: bool,
    /// Only jobs of these devices: up to 500 numbers, separated by commas.
    #[param(example = "17,18")]
    ids: Option<String>,
    /// Only jobs at this provider.
    #[param(example = "meadow")]
    provider: Option<String>,
    /// Only jobs of the connection with this label or number.
    #[param(example = "home")]
    connection: Option<String>,
    /// Only jobs of devices of this home or site.
    #[param(example = "Cabin")]
    group: Option<String>,
    /// Only jobs of devices of this model.
    #[param(example = "awair-element")]
    model: Option<String>,
    /// Only jobs of devices with this text in their names, in upper or lower case.
    #[param(example = "room")]
    q: Option<String>,
    /// Only jobs of this resource.
    #[param(example = "state")]
    resource: Option<String>,
    /// Only jobs in this state.
    #[param(inline)]
    state: Option<JobState>,
    /// Only jobs that ask for shorter intervals than this.
    #[param(example = "1m")]
    faster_than: Option<String>,
}

/// What came, or with `dry_run` would come, of a change to many jobs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct JobsChanged {
    /// How many jobs the filters name.
    #[schema(example = 300)]
    matched: usize,
    /// How many of them are otherwise than before.
    #[schema(example = 280)]
    changed: usize,
    /// How many of them are scheduled and get what they ask; null if this could not be computed in time.
    #[schema(required = true, example = 250)]
    as_asked: Option<usize>,
    /// Those that get less than they ask, by what limits them; most jobs first.
    slower: Vec<SlowerView>,
}

/// Jobs that get less than they ask because of one quota.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct SlowerView {
    /// What limits them.
    #[schema(example = "quota hour of connection 3 allows 500 in 1h")]
    limited_by: String,
    /// How many.
    #[schema(example = 50)]
    jobs: usize,
    /// The longest interval that one of them gets in the long run; null if it cannot be served.
    #[schema(required = true, example = "47s")]
    slowest_interval: Option<String>,
    /// That job's device.
    #[schema(example = 17)]
    device: DeviceId,
    /// That job's resource.
    #[schema(example = "state")]
    resource: String,
}

/// Why no job was changed.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum JobsRefusal {
    /// Malformed JSON, or an invalid query parameter
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key has role `reader`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// The body exceeds the server's limit
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not `application/json`
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// A value is not accepted, for example an interval that is too short for one of the jobs; no job was changed
    #[response(status = 422, content_type = "application/problem+json")]
    NotAccepted(Problem),
}

/// Sets the refresh interval, priority or pause of many jobs: all that the filters name, or none.
///
/// Jobs that are so already keep their version, but probing jobs become active and are tried at once. No job is
/// created. Within moments the change is in the schedule.
#[utoipa::path(
    patch, path = "/v1/jobs", operation_id = "set_jobs", tag = "jobs", security(("bearer" = [])),
    params(JobsQuery),
    request_body = Preference,
    responses(
        (status = 200, description = "How many jobs were changed, and what they get", body = JobsChanged),
        JobsRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn patch(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Query(query): Query<JobsQuery>,
    Json(preference): Json<Preference>,
) -> Result<axum::Json<JobsChanged>, ApiError> {
    if let Some(provider) = &query.provider {
        api.app.registry.find(provider).map_err(|error| ApiError::BadQuery(error.to_string()))?;
    }
    let dry_run = query.dry_run;
    let filter = query.into_filter()?;
    let change = preference.into_change()?;
    let changed = change::set_jobs(&api.app, &api.plans, principal.tenant, &filter, &change, dry_run).await?;
    Ok(axum::Json(JobsChanged {
        matched: changed.matched,
        changed: changed.changed,
        as_asked: changed.as_asked,
        slower: changed.slower.into_iter().map(SlowerView::from).collect(),
    }))
}

impl JobsQuery {
    fn into_filter(self) -> Result<JobFilter, ApiError> {
        let texts = [&self.connection, &self.group, &self.model, &self.q, &self.resource];
        // Postgres refuses text with a NUL; refuse it here, so that it is not reported as an internal error.
        if texts.into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(ApiError::BadQuery(
                "connection, group, model, q and resource must not hold a NUL character".to_owned(),
            ));
        }
        let interval = |text: String| {
            text.parse::<Interval>().map_err(|error| ApiError::BadQuery(format!("faster_than: {error}")))
        };
        Ok(JobFilter {
            ids: self.ids.as_deref().map(devices::ids).transpose()?,
            provider: self.provider,
            connection: self.connection,
            group: self.group,
            model: self.model,
            name_contains: self.q,
            resource: self.resource,
            state: self.state,
            faster_than: self.faster_than.map(interval).transpose()?,
        })
    }
}

impl From<change::Slower> for SlowerView {
    fn from(slower: change::Slower) -> Self {
        let change::Slower { limited_by, jobs, slowest, device, resource } = slower;
        Self { limited_by, jobs, slowest_interval: slowest, device, resource: resource.to_string() }
    }
}
