//! Reading devices.

use super::Api;
use super::auth::Caller;
use super::error::{ApiError, Problem};
use super::extract::{Path, Query};
use super::openapi::Refusals;
use crate::read::{self, DeviceView, Filter, Page};
use crate::words::DeviceId;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;

const LIMIT: i64 = 100;
const LIMIT_MAX: i64 = 500;

/// Which devices to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// At most so many.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<i64>,
    /// Only those after this id: the previous page's `next`.
    after: Option<i64>,
    /// Only those at this provider.
    #[param(example = "meadow")]
    provider: Option<String>,
    /// Only those under the connection of this label or number.
    #[param(example = "home")]
    connection: Option<String>,
}

/// Lists your devices with their latest values, in order of their ids.
#[utoipa::path(
    get, path = "/v1/devices", operation_id = "list_devices", tag = "devices", params(Which), security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of devices", body = Page),
        (status = 400, description = "A bad query", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    Caller(who): Caller,
    Query(which): Query<Which>,
) -> Result<Json<Page>, ApiError> {
    let filter = which.filter()?;
    Ok(Json(read::devices(&api.app, who.tenant, &filter).await?))
}

/// One device with its latest values and their age.
#[utoipa::path(
    get, path = "/v1/devices/{id}", operation_id = "get_device", tag = "devices", security(("bearer" = [])),
    params(("id" = i64, Path, description = "The device's number", example = 17)),
    responses(
        (status = 200, description = "The device", body = DeviceView),
        (status = 400, description = "Not an id", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such device, or not yours", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn show(
    State(api): State<Api>,
    Caller(who): Caller,
    Path(id): Path<DeviceId>,
) -> Result<Json<DeviceView>, ApiError> {
    read::device(&api.app, who.tenant, id).await?.map(Json).ok_or(ApiError::NoSuchDevice(id))
}

impl Which {
    fn filter(self) -> Result<Filter, ApiError> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(ApiError::BadQuery(format!("limit is {limit}: it must be from 1 to {LIMIT_MAX}")));
        }
        // Postgres knows no text with a NUL, and would call ours broken.
        if [&self.provider, &self.connection].into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(ApiError::BadQuery(
                "provider and connection must not hold a NUL character".to_owned(),
            ));
        }
        let after = self.after.unwrap_or(0);
        Ok(Filter { provider: self.provider, connection: self.connection, after, limit })
    }
}
