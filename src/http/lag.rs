//! The lag report.

use super::Api;
use super::auth::Authenticated;
use super::error::ApiError;
use super::refusals::Refusals;
use crate::watch::{self, LagReport};
use crate::words::{ProviderName, Role};
use axum::Json;
use axum::extract::State;

/// Reports how much of the data is fresh, per provider. With an operator's key the report covers every tenant, the
/// schedule's current state and the last five minutes; with any other key it covers the tenant's own jobs.
#[utoipa::path(
    get, path = "/v1/lag", operation_id = "get_lag", tag = "lag", security(("bearer" = [])),
    responses((status = 200, description = "The report", body = LagReport), Refusals)
)]
pub(super) async fn show(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
) -> Result<Json<LagReport>, ApiError> {
    let app = &api.app;
    let (tenant, providers): (_, Vec<ProviderName>) = match principal.role {
        Role::Operator => (None, app.registry.iter().map(|provider| provider.name.clone()).collect()),
        Role::Reader | Role::User => (Some(principal.tenant), Vec::new()),
    };
    let incidents = app.incidents.read_all(&providers).await;
    Ok(Json(watch::report(&app.sources(), tenant, &providers, incidents, app.clock.now()).await?))
}
