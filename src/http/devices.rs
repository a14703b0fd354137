//! Endpoints that read devices.

use super::Api;
use super::auth::Authenticated;
use super::error::{ApiError, Problem};
use super::extract::{Path, Query};
use super::refusals::Refusals;
use crate::read::{self, DeviceView, Filter, Page};
use crate::words::DeviceId;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;

const PAGE_SIZE: i64 = 100;
const PAGE_SIZE_MAX: i64 = 500;

/// Which devices to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeviceFilter {
    /// Page size.
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<i64>,
    /// Only devices after this id; pass the previous page's `next`.
    after: Option<i64>,
    /// Only devices at this provider.
    #[param(example = "meadow")]
    provider: Option<String>,
    /// Only devices of the connection with this label or number.
    #[param(example = "home")]
    connection: Option<String>,
}

/// Lists your devices with their latest values, in order of their ids.
#[utoipa::path(
    get, path = "/v1/devices", operation_id = "list_devices", tag = "devices", params(DeviceFilter),
    security(("bearer" = [])),
    responses(
        (status = 200, description = "A page of devices", body = Page),
        (status = 400, description = "An invalid query parameter", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    Query(query): Query<DeviceFilter>,
) -> Result<Json<Page>, ApiError> {
    if let Some(provider) = &query.provider {
        api.app.registry.find(provider).map_err(|error| ApiError::BadQuery(error.to_string()))?;
    }
    let filter = query.into_filter()?;
    Ok(Json(read::devices(&api.app, principal.tenant, &filter).await?))
}

/// Returns one device with its latest values and their age.
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
    Authenticated(principal): Authenticated,
    Path(id): Path<DeviceId>,
) -> Result<Json<DeviceView>, ApiError> {
    read::device(&api.app, principal.tenant, id).await?.map(Json).ok_or(ApiError::NoSuchDevice(id))
}

impl DeviceFilter {
    fn into_filter(self) -> Result<Filter, ApiError> {
        let limit = self.limit.unwrap_or(PAGE_SIZE);
        if !(1..=PAGE_SIZE_MAX).contains(&limit) {
            return Err(ApiError::BadQuery(format!(
                "limit is {limit}: it must be from 1 to {PAGE_SIZE_MAX}"
            )));
        }
        // Postgres refuses text with a NUL; refuse it here, so that it is not reported as an internal error.
        if [&self.provider, &self.connection].into_iter().flatten().any(|text| text.contains('\0')) {
            return Err(ApiError::BadQuery(
                "provider and connection must not hold a NUL character".to_owned(),
            ));
        }
        let after = self.after.unwrap_or(0);
        Ok(Filter { provider: self.provider, connection: self.connection, after, limit })
    }
}
