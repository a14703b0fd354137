//! Whether this process lives, and whether it can work.

use super::Api;
use super::error::{ApiError, Problem};
use crate::postgres;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::time::Duration;
use tokio::time::timeout;

/// A server that takes longer to say anything is as good as away.
const PATIENCE: Duration = Duration::from_secs(1);

/// A good answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// Always `ok`; what is not answers with a problem.
    #[schema(example = "ok")]
    status: &'static str,
}

const OK: Json<Health> = Json(Health { status: "ok" });

/// The process lives.
#[utoipa::path(
    get, path = "/healthz", operation_id = "healthz", tag = "health", security(()),
    responses((status = 200, description = "It does", body = Health))
)]
pub(super) async fn live() -> Json<Health> {
    OK
}

/// Postgres and Redis answer.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "They do", body = Health),
        (status = 503, description = "`detail` names which does not", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn ready(State(api): State<Api>) -> Result<Json<Health>, ApiError> {
    let (postgres, redis) = tokio::join!(
        timeout(PATIENCE, postgres::ping(&api.app.pool)),
        timeout(PATIENCE, api.app.redis.time_ms())
    );
    let away: Vec<_> = [("Postgres", matches!(postgres, Ok(Ok(())))), ("Redis", matches!(redis, Ok(Ok(_))))]
        .into_iter()
        .filter_map(|(name, answers)| (!answers).then_some(name))
        .collect();
    if away.is_empty() { Ok(OK) } else { Err(ApiError::NotReady(away)) }
}
