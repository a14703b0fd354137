//! One connection: shown, renamed, paused, resumed, removed.

use super::ConnectionRefusal;
use crate::authorise::AuthoriseError;
use crate::http::Api;
use crate::http::auth::{Authenticated, AuthenticatedUser};
use crate::http::error::ApiError;
use crate::http::extract::{Json, Path, Query};
use crate::http::refusals::Refusals;
use crate::keep::{self, Removal};
use crate::preference::connections::{self, ConnectionRow};
use crate::preference::standing::{self, ConnectionChange};
use crate::words::Label;
use axum::extract::State;
use serde::{Deserialize, Serialize};

/// What to change of a connection; what is left out stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"label": "roof", "paused": false}))]
pub(in crate::http) struct ConnectionPatch {
    /// Your name for it, unique among your connections at the provider.
    label: Option<String>,
    /// `true`: nothing is called for it until you resume it. `false`: it is active, and called again.
    paused: Option<bool>,
}

/// What becomes of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum History {
    /// The devices stay, with their latest values and history.
    Keep,
    /// Nothing is kept.
    Erase,
}

/// How to remove a connection.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct RemovalQuery {
    /// `keep` closes the connection: its secrets and tokens are deleted, and nothing is called any more; its devices,
    /// their latest values and their history can still be read, and new secrets open it again. `erase` deletes the
    /// connection with its devices, jobs, values and history.
    #[param(inline)]
    history: History,
}

/// What was removed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct RemovedConnection {
    /// What became of the history.
    history: History,
    /// What was deleted.
    #[serde(flatten)]
    deleted: Removal,
}

/// Shows a connection, without its secrets.
#[utoipa::path(
    get, path = "/v1/connections/{id}", operation_id = "get_connection", tag = "connections",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The connection's number", example = 3)),
    responses((status = 200, description = "The connection", body = ConnectionRow), ConnectionRefusal, Refusals)
)]
pub(in crate::http) async fn show(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    Path(id): Path<i64>,
) -> Result<axum::Json<ConnectionRow>, ApiError> {
    let row = connections::one(&api.app.pool, principal.tenant, id).await.map_err(AuthoriseError::from)?;
    Ok(axum::Json(row))
}

/// Renames, pauses or resumes a connection.
///
/// While it is paused, nothing is called for it, nor is its token renewed; its devices keep their latest values, whose
/// age grows. What its jobs ask for stays, and holds again when it is resumed.
#[utoipa::path(
    patch, path = "/v1/connections/{id}", operation_id = "patch_connection", tag = "connections",
    security(("bearer" = [])), request_body = ConnectionPatch,
    params(("id" = i64, Path, description = "The connection's number", example = 3)),
    responses(
        (status = 200, description = "The connection as it is now", body = ConnectionRow),
        ConnectionRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn patch(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
    Json(asked): Json<ConnectionPatch>,
) -> Result<axum::Json<ConnectionRow>, ApiError> {
    let (app, tenant) = (&api.app, principal.tenant);
    let label = asked.label.map(|label| label.parse::<Label>()).transpose()?;
    if label.is_none() && asked.paused.is_none() {
        return Err(ApiError::NothingToChange("label and paused"));
    }
    let found = connections::by_number(&app.pool, tenant, id).await.map_err(AuthoriseError::from)?;
    let change = ConnectionChange { label, paused: asked.paused };
    standing::change(&app.pool, tenant, &found, change).await.map_err(AuthoriseError::from)?;
    keep::drain_soon(app).await;
    let row = connections::one(&app.pool, tenant, id).await.map_err(AuthoriseError::from)?;
    Ok(axum::Json(row))
}

/// Closes a connection and keeps its history, or erases it with all that it brought.
///
/// `history` has no default. Access that the account's owner granted at the provider stays until it is withdrawn there.
#[utoipa::path(
    delete, path = "/v1/connections/{id}", operation_id = "delete_connection", tag = "connections",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The connection's number", example = 3), RemovalQuery),
    responses(
        (status = 200, description = "What was deleted", body = RemovedConnection),
        ConnectionRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn delete(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
    Query(RemovalQuery { history }): Query<RemovalQuery>,
) -> Result<axum::Json<RemovedConnection>, ApiError> {
    let (app, tenant) = (&api.app, principal.tenant);
    let found = connections::by_number(&app.pool, tenant, id).await.map_err(AuthoriseError::from)?;
    let deleted = match history {
        History::Keep => {
            standing::close(&app.pool, tenant, &found).await.map_err(AuthoriseError::from)?;
            keep::drain_soon(app).await;
            Removal::default()
        }
        History::Erase => {
            // A long history is deleted to its end even if the client goes away.
            let erased = app.run_detached(move |app, _| async move {
                keep::remove_connection(&app, tenant, found.id).await
            });
            let erased = erased.await.map_err(|error| ApiError::Internal(error.into()))?;
            erased?.ok_or_else(|| ApiError::NoSuchConnection(id.to_string()))?
        }
    };
    Ok(axum::Json(RemovedConnection { history, deleted }))
}
