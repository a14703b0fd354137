//! What readings of a provider hold.

use super::Api;
use super::auth::Authenticated;
use super::error::{ApiError, Problem};
use super::extract::Path;
use super::refusals::Refusals;
use crate::provider::ProviderOverview;
use axum::Json;
use axum::extract::State;

/// Returns a provider's resources, with the names, labels, kinds and units of their values.
#[utoipa::path(
    get, path = "/v1/providers/{name}", operation_id = "get_provider", tag = "providers", security(("bearer" = [])),
    params(("name" = String, Path, description = "The provider's name", example = "meadow")),
    responses(
        (status = 200, description = "The provider", body = ProviderOverview),
        (status = 404, description = "No such provider", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn show(
    State(api): State<Api>,
    _principal: Authenticated,
    Path(name): Path<String>,
) -> Result<Json<ProviderOverview>, ApiError> {
    let provider = api.app.registry.find(&name).map_err(ApiError::NoSuchProvider)?;
    Ok(Json(provider.overview().clone()))
}
