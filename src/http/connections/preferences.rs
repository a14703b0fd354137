//! Preferences of a whole connection, or of a home or site within it.

use crate::authorise::AuthoriseError;
use crate::change::{self, DefaultPreference, Followed};
use crate::http::Api;
use crate::http::auth::{Authenticated, AuthenticatedUser};
use crate::http::error::{ApiError, Problem};
use crate::http::extract::{Json, Path, Query};
use crate::http::jobs::Preference;
use crate::http::refusals::Refusals;
use crate::preference::connections;
use crate::words::{Priority, Window};
use axum::extract::State;
use serde::{Deserialize, Serialize};

/// Which preference of the connection.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct GroupQuery {
    /// The home or site; left out, the whole connection.
    #[serde(default)]
    #[param(example = "Cabin")]
    group: String,
}

/// Which preference of the connection, and how to set it.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct SetQuery {
    /// The home or site; left out, the whole connection.
    #[serde(default)]
    #[param(example = "Cabin")]
    group: String,
    /// `true`: jobs that have a preference of their own give it up.
    #[serde(default)]
    #[param(default = false)]
    replace: bool,
}

/// A preference of a connection, or of a home or site within it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct DefaultView {
    /// The home or site; null: the whole connection.
    #[schema(required = true, example = "Cabin")]
    group: Option<String>,
    /// The resource.
    #[schema(example = "state")]
    resource: String,
    /// The interval; with `windows`, the one outside of them.
    #[schema(example = "5m")]
    interval: String,
    /// Other intervals by time of day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    windows: Vec<Window>,
    /// The time zone of the windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Oslo")]
    zone: Option<String>,
    /// The priority.
    priority: Priority,
}

/// The preferences of a connection and of homes or sites within it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct DefaultList {
    /// Ordered by group and resource; that of the whole connection first.
    preferences: Vec<DefaultView>,
}

/// A preference that was set.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct DefaultSet {
    #[serde(flatten)]
    preference: DefaultView,
    #[serde(flatten)]
    followed: FollowedView,
}

/// What became of the jobs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct FollowedView {
    /// How many jobs are otherwise than before.
    #[schema(example = 12)]
    changed: u64,
    /// How many jobs have a preference of their own, which counts for them.
    #[schema(example = 3)]
    own: u64,
}

/// Why a preference was not set.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum DefaultRefusal {
    /// Malformed JSON, not an id, or an invalid query parameter
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key has role `reader`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such connection, not yours, its provider has no such resource, or there is no such preference
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The connection's provider is no longer defined
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

/// Lists the preferences that stand at a connection, and at homes or sites within it.
#[utoipa::path(
    get, path = "/v1/connections/{id}/preferences", operation_id = "list_preferences", tag = "jobs",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The connection's number", example = 3)),
    responses((status = 200, description = "The preferences", body = DefaultList), DefaultRefusal, Refusals)
)]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    Path(id): Path<i64>,
) -> Result<axum::Json<DefaultList>, ApiError> {
    let app = &api.app;
    let found =
        connections::by_number(&app.pool, principal.tenant, id).await.map_err(AuthoriseError::from)?;
    let all = change::default_preferences(app, principal.tenant, &found).await?;
    Ok(axum::Json(DefaultList { preferences: all.into_iter().map(DefaultView::from).collect() }))
}

/// Sets how often a resource of all devices of a connection, or of a home or site within it, is refreshed.
///
/// It counts for jobs without a preference of their own, also for those of devices that are added later. The nearest
/// counts: the device's, then its home's or site's, then the connection's, then the provider's default. What the body
/// leaves out stays as it is.
#[utoipa::path(
    put, path = "/v1/connections/{id}/preferences/{resource}", operation_id = "set_preference", tag = "jobs",
    security(("bearer" = [])), request_body = Preference,
    params(
        ("id" = i64, Path, description = "The connection's number", example = 3),
        ("resource" = String, Path, description = "A resource of the connection's provider", example = "state"),
        SetQuery,
    ),
    responses(
        (status = 200, description = "The preference, and what became of the jobs", body = DefaultSet),
        DefaultRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn put(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path((id, resource)): Path<(i64, String)>,
    Query(SetQuery { group, replace }): Query<SetQuery>,
    Json(preference): Json<Preference>,
) -> Result<axum::Json<DefaultSet>, ApiError> {
    let (app, tenant) = (&api.app, principal.tenant);
    checked(&group)?;
    let asked = preference.into_change()?;
    if asked.paused.is_some() {
        return Err(ApiError::BadQuery(
            "paused is of a job or a connection: use PATCH /v1/jobs or PATCH /v1/connections/{id}".to_owned(),
        ));
    }
    let found = connections::by_number(&app.pool, tenant, id).await.map_err(AuthoriseError::from)?;
    let set = change::set_default(app, tenant, &found, (&group, &resource), &asked, replace);
    let (preference, followed) = set.await?;
    Ok(axum::Json(DefaultSet { preference: preference.into(), followed: followed.into() }))
}

/// Removes a preference of a connection, or of a home or site within it: its jobs follow the next nearest.
#[utoipa::path(
    delete, path = "/v1/connections/{id}/preferences/{resource}", operation_id = "delete_preference", tag = "jobs",
    security(("bearer" = [])),
    params(
        ("id" = i64, Path, description = "The connection's number", example = 3),
        ("resource" = String, Path, description = "A resource of the connection's provider", example = "state"),
        GroupQuery,
    ),
    responses(
        (status = 200, description = "What became of the jobs", body = FollowedView),
        DefaultRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn delete(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path((id, resource)): Path<(i64, String)>,
    Query(GroupQuery { group }): Query<GroupQuery>,
) -> Result<axum::Json<FollowedView>, ApiError> {
    let (app, tenant) = (&api.app, principal.tenant);
    checked(&group)?;
    let found = connections::by_number(&app.pool, tenant, id).await.map_err(AuthoriseError::from)?;
    let followed = change::remove_default(app, tenant, &found, (&group, &resource)).await?;
    Ok(axum::Json(followed.into()))
}

/// Postgres knows no text with a NUL.
fn checked(group: &str) -> Result<(), ApiError> {
    match group.contains('\0') {
        true => Err(ApiError::BadQuery("group must not hold a NUL character".to_owned())),
        false => Ok(()),
    }
}

impl From<DefaultPreference> for DefaultView {
    fn from(one: DefaultPreference) -> Self {
        Self {
            group: Some(one.group).filter(|group| !group.is_empty()),
            resource: one.resource.to_string(),
            interval: one.interval.to_string(),
            zone: one.windows.as_ref().map(|windows| windows.zone_name().to_owned()),
            windows: one.windows.map(|windows| windows.windows()).unwrap_or_default(),
            priority: one.priority,
        }
    }
}

impl From<Followed> for FollowedView {
    fn from(Followed { changed, own }: Followed) -> Self {
        Self { changed, own }
    }
}
