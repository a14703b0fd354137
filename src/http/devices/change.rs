//! A device is renamed or removed.

use crate::change;
use crate::http::Api;
use crate::http::auth::AuthenticatedUser;
use crate::http::error::{ApiError, Problem};
use crate::http::extract::{Json, Path, Query};
use crate::http::refusals::Refusals;
use crate::keep::{self, Removal};
use crate::read::{self, DeviceView, With};
use crate::words::{DeviceId, text};
use axum::extract::State;
use serde::Deserialize;

/// What to change of a device.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Living room"}))]
pub(in crate::http) struct DevicePatch {
    /// Your name for it. An empty one leaves the name to the provider's list of devices again.
    name: Option<String>,
}

/// How to remove a device.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct DeviceRemovalQuery {
    /// `erase`: the device's history is deleted with it. To keep the history, pause the device's jobs instead.
    #[param(inline)]
    history: Erase,
}

#[derive(Debug, Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Erase {
    Erase,
}

/// Why a device was not changed.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum DeviceRefusal {
    /// Malformed JSON, not an id, or an invalid query parameter
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key has role `reader`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such device, or not yours
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The body exceeds the server's limit
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not `application/json`
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// The name is not accepted
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
}

/// Renames a device.
#[utoipa::path(
    patch, path = "/v1/devices/{id}", operation_id = "patch_device", tag = "devices", security(("bearer" = [])),
    request_body = DevicePatch,
    params(("id" = i64, Path, description = "The device's number", example = 17)),
    responses(
        (status = 200, description = "The device as it is now", body = DeviceView),
        DeviceRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn patch(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<DeviceId>,
    Json(asked): Json<DevicePatch>,
) -> Result<axum::Json<DeviceView>, ApiError> {
    let (app, tenant) = (&api.app, principal.tenant);
    let name = asked.name.ok_or(ApiError::NothingToChange("name"))?;
    if !change::rename_device(app, tenant, id, text::name("name", &name)?).await? {
        return Err(ApiError::NoSuchDevice(id));
    }
    let with = With { meta: false, turns: None };
    let device = read::device(app, tenant, id, with).await?;
    Ok(axum::Json(device.ok_or(ApiError::NoSuchDevice(id))?))
}

/// Removes a device with its jobs, values and history.
///
/// The provider's list of devices does not add it again; an import does.
#[utoipa::path(
    delete, path = "/v1/devices/{id}", operation_id = "delete_device", tag = "devices", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The device's number", example = 17), DeviceRemovalQuery),
    responses(
        (status = 200, description = "What was deleted", body = Removal),
        DeviceRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn delete(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<DeviceId>,
    Query(DeviceRemovalQuery { history: Erase::Erase }): Query<DeviceRemovalQuery>,
) -> Result<axum::Json<Removal>, ApiError> {
    let tenant = principal.tenant;
    // A long history is deleted to its end even if the client goes away.
    let removed =
        api.app.run_detached(move |app, _| async move { keep::remove_devices(&app, tenant, &[id]).await });
    let removed = removed.await.map_err(|error| ApiError::Internal(error.into()))??;
    match removed.devices {
        0 => Err(ApiError::NoSuchDevice(id)),
        _ => Ok(axum::Json(removed)),
    }
}
