//! How late things are.

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::openapi::Refusals;
use crate::watch::{self, LagReport};
use crate::words::{ProviderName, Role};
use axum::Json;
use axum::extract::State;

/// How much of the data is fresh, by provider. An operator's report covers every tenant, the schedule as it stands
/// and the last five minutes; everybody else's covers their own jobs.
#[utoipa::path(
    get, path = "/v1/lag", operation_id = "get_lag", tag = "lag", security(("bearer" = [])),
    responses((status = 200, description = "The report", body = LagReport), Refusals)
)]
pub(super) async fn show(State(api): State<Api>, Caller(who): Caller) -> Result<Json<LagReport>, ApiError> {
    let app = &api.app;
    let (tenant, providers): (_, Vec<ProviderName>) = match who.role {
        Role::Operator => (None, app.registry.iter().map(|provider| provider.name.clone()).collect()),
        Role::Reader | Role::User => (Some(who.tenant), Vec::new()),
    };
    Ok(Json(watch::report(&app.sources(), tenant, &providers, app.clock.now()).await?))
}
