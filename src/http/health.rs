//! Liveness and readiness of this process.

use super::Api;
use super::accept::Connections;
use super::error::{ApiError, Problem};
use crate::postgres;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;

/// A server that takes longer to answer counts as unavailable.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// The process is healthy.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// Always `ok`; an unhealthy process answers with a problem instead.
    #[schema(example = "ok")]
    status: &'static str,
    /// The API's connections at this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Connections>,
}

impl Health {
    fn of(api: &Api) -> Json<Self> {
        Json(Self { status: "ok", connections: api.places.as_ref().map(|places| places.connections()) })
    }
}

/// Whether the process is alive.
#[utoipa::path(
    get, path = "/healthz", operation_id = "healthz", tag = "health", security(()),
    responses((status = 200, description = "It is alive", body = Health))
)]
pub(super) async fn live(State(api): State<Api>) -> Json<Health> {
    Health::of(&api)
}

/// Whether Postgres and Redis answer.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "Both answer", body = Health),
        (status = 503, description = "`detail` names the server that does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn ready(State(api): State<Api>) -> Result<Json<Health>, ApiError> {
    let (postgres, redis) = tokio::join!(
        timeout(PING_TIMEOUT, postgres::ping(&api.app.pool)),
        timeout(PING_TIMEOUT, api.app.redis.time_ms())
    );
    let unavailable: Vec<_> =
        [("Postgres", matches!(postgres, Ok(Ok(())))), ("Redis", matches!(redis, Ok(Ok(_))))]
            .into_iter()
            .filter_map(|(name, answers)| (!answers).then_some(name))
            .collect();
    if unavailable.is_empty() { Ok(Health::of(&api)) } else { Err(ApiError::NotReady(unavailable)) }
}
