//! Devices that a user brings: one or a hundred thousand.

use super::ConnectionRefusal;
use crate::authorise::AuthoriseError;
use crate::discovery;
use crate::http::Api;
use crate::http::auth::AuthenticatedUser;
use crate::http::error::ApiError;
use crate::http::extract::{Path, Query, Text};
use crate::http::idempotency::{IdempotencyKey, NotServed};
use crate::http::refusals::Refusals;
use crate::keep;
use crate::preference::connections;
use crate::preference::devices::TenantConnection;
use crate::preference::import::{Format, Import, RowError, Tally};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// Refused rows beyond this are counted, not listed.
const ERRORS_LISTED_MAX: usize = 1_000;

/// How to import.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ImportQuery {
    /// Add nothing if a row is refused.
    #[serde(default)]
    all_or_nothing: bool,
}

/// What an import came to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Imported {
    #[serde(flatten)]
    tally: Tally,
    /// The refused rows: the first 1,000.
    errors: Vec<RowError>,
}

/// Adds or changes devices of a connection.
///
/// The body is CSV with a header (`external_id,name,group,resource,interval,priority`, of which only `external_id` is
/// required; a device may have a row per resource), or lines of JSON such as
/// `{"external_id":"th-7c9e6679","name":"Hall","jobs":{"state":{"interval":"30s","priority":"high"}}}`. Which of them,
/// the content type (`text/csv`, `application/x-ndjson`) says, or else the first character. A new device without jobs
/// gets the provider's default jobs; a known one keeps its own. Refused rows do not prevent the others, which are added
/// a thousand at a time.
#[utoipa::path(
    post, path = "/v1/connections/{id}/devices", operation_id = "import_devices", tag = "connections",
    security(("bearer" = [])),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv")), description = "The devices"),
    params(("id" = i64, Path, description = "The connection's number", example = 3), ImportQuery, IdempotencyKey),
    responses(
        NotServed,
        (status = 200, description = "What was added, and why rows were refused", body = Imported),
        ConnectionRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn import(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
    Query(ImportQuery { all_or_nothing }): Query<ImportQuery>,
    headers: HeaderMap,
    Text(body): Text,
) -> Result<axum::Json<Imported>, ApiError> {
    let (app, tenant) = (&api.app, principal.tenant);
    let found = connections::by_number(&app.pool, tenant, id).await.map_err(AuthoriseError::from)?;
    let provider = app.registry.find(&found.provider).map_err(AuthoriseError::from)?.clone();
    let account = TenantConnection { tenant, connection: found.id, provider: provider.name.clone() };
    let id_prefix = discovery::id_prefix(app, &provider, &account).await?;
    let errors: Arc<Mutex<Vec<RowError>>> = Arc::default();
    let note = |error| {
        let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() < ERRORS_LISTED_MAX {
            errors.push(error);
        }
    };
    let import = || Import::new(&*body, format(&headers), &provider, &id_prefix, note);
    // Checked before anything is added: one transaction over all rows would hold them for minutes.
    let checked = if all_or_nothing { Some(import()?.check()?) } else { None };
    let tally = match checked.filter(|checked| checked.refused > 0) {
        Some(refused) => Ok(refused),
        None => import()?.within(app.settings.tenant.devices_max).add(&app.pool, &account, |_| {}).await,
    };
    // Also of an import that failed, some rows may have been added.
    keep::drain_soon(app).await;
    let errors = std::mem::take(&mut *errors.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(axum::Json(Imported { tally: tally?, errors }))
}

fn format(headers: &HeaderMap) -> Option<Format> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match kind.split(';').next()?.trim() {
        "text/csv" => Some(Format::Csv),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json" => {
            Some(Format::Ndjson)
        }
        _ => None,
    }
}
