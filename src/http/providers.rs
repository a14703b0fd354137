//! The providers: what connections to them need, and what their readings hold.

use super::Api;
use super::auth::Authenticated;
use super::error::{ApiError, Problem};
use super::extract::Path;
use super::refusals::Refusals;
use crate::provider::{Provider, ProviderOverview};
use axum::Json;
use axum::extract::State;
use serde::Serialize;

/// A provider of this server.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ProviderView {
    #[serde(flatten)]
    overview: ProviderOverview,
    /// Whether you may add connections to it: the operator has set up what it needs, and it is not one that may be
    /// called in private networks or at any host.
    addable: bool,
}

/// The providers of this server.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ProviderList {
    /// By name.
    providers: Vec<ProviderView>,
}

impl ProviderView {
    fn of(api: &Api, provider: &Provider) -> Self {
        let app = &api.app;
        let is_set_up = provider.check_operator(&app.settings.provider.of(&provider.name)).is_ok();
        let addable =
            is_set_up && super::connections::may_be_added(&app.settings.providers, provider).is_ok();
        Self { overview: provider.overview().clone(), addable }
    }
}

/// Lists the providers: what a connection to each needs, its resources with their shortest intervals, and their values.
#[utoipa::path(
    get, path = "/v1/providers", operation_id = "list_providers", tag = "providers", security(("bearer" = [])),
    responses((status = 200, description = "All providers, by name", body = ProviderList), Refusals)
)]
pub(super) async fn list(State(api): State<Api>, _principal: Authenticated) -> Json<ProviderList> {
    let providers = api.app.registry.iter().map(|provider| ProviderView::of(&api, provider)).collect();
    Json(ProviderList { providers })
}

/// Returns what a connection to a provider needs, and its resources with the names, labels, kinds and units of their
/// values.
#[utoipa::path(
    get, path = "/v1/providers/{name}", operation_id = "get_provider", tag = "providers", security(("bearer" = [])),
    params(("name" = String, Path, description = "The provider's name", example = "meadow")),
    responses(
        (status = 200, description = "The provider", body = ProviderView),
        (status = 404, description = "No such provider", body = Problem, content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn show(
    State(api): State<Api>,
    _principal: Authenticated,
    Path(name): Path<String>,
) -> Result<Json<ProviderView>, ApiError> {
    let provider = api.app.registry.find(&name).map_err(ApiError::NoSuchProvider)?;
    Ok(Json(ProviderView::of(&api, provider)))
}
