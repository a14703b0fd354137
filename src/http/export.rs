//! All of a tenant's data at once.

use super::Api;
use super::auth::AuthenticatedUser;
use super::error::Problem;
use super::refusals::Refusals;
use crate::history::Export;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;

/// Exports all of your data as lines of JSON.
///
/// Each line is an object whose `kind` says what it holds: one `export`, then every `connection` (without its secrets)
/// with each `preference` that stands at it, then every `device` with its jobs and latest values, some devices at a
/// time followed by their history: `reading`, newest first, and `rollup`. The last line is of kind `end`: without it
/// the export is incomplete. What changes meanwhile may or may not be in it.
#[utoipa::path(
    get, path = "/v1/export", operation_id = "export", tag = "history", security(("bearer" = [])),
    responses(
        (status = 200, description = "Lines of JSON", content_type = "application/x-ndjson", body = String),
        (status = 403, description = "The key has role `reader`", body = Problem,
            content_type = "application/problem+json"),
        Refusals,
    )
)]
pub(super) async fn export(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
) -> Response {
    let export = Export::new((*api.app).clone(), principal.tenant);
    let chunks = stream::try_unfold(export, async |mut export| {
        let chunk = export.next().await;
        // The connection is closed before the line of kind `end`.
        let chunk = chunk.inspect_err(|error| tracing::error!(%error, "an export ended early"))?;
        Ok::<_, crate::postgres::PostgresError>(chunk.map(|chunk| (chunk, export)))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(chunks)).into_response()
}
