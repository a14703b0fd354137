//! Which devices a connection has, as its cloud lists them.

use crate::discovery::{self, DiscoverRequest};
use crate::http::Api;
use crate::http::auth::AuthenticatedUser;
use crate::http::error::{ApiError, Problem};
use crate::http::extract::{Path, Query};
use crate::http::idempotency::{IdempotencyKey, NotServed};
use crate::http::refusals::Refusals;
use crate::preference::connections::{self, ConnectionError};
use crate::preference::discovered::Changes;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the quotas may take: a client waits for the response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How to ask.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct How {
    /// Only tell what would change.
    #[serde(default)]
    dry_run: bool,
}

/// What the cloud's list changed, or would.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Discovered {
    /// Whether nothing was changed, because nothing was to be.
    dry_run: bool,
    /// How many devices the list has.
    #[schema(example = 12)]
    listed: usize,
    /// Added with what they get by default.
    new: Vec<NewDevice>,
    /// External ids of those that earlier lists left out.
    found_again: Vec<String>,
    /// External ids of those that this list is the first to leave out. They are kept, and fetched as before.
    missing: Vec<String>,
    /// External ids of devices whose name, group or model changed. A name that the owner gave stays.
    changed: Vec<String>,
    /// External ids of listed devices that were removed here: they stay removed until they are added by hand.
    removed: Vec<String>,
    /// External ids of listed devices that were not added, because you have as many devices as you may have.
    left_out: Vec<String>,
}

/// A device that was not known before.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct NewDevice {
    /// The provider's own id of it.
    #[schema(example = "th-7c9e6679")]
    external_id: String,
    /// What it is called there.
    #[schema(example = "Living room")]
    name: String,
    /// Its home or site; null for none.
    #[schema(required = true)]
    group: Option<String>,
    /// What kind of device it is; null where nobody tells.
    #[schema(required = true)]
    model: Option<String>,
}

impl Discovered {
    fn of(dry_run: bool, changes: Changes) -> Self {
        let non_empty = |text: String| Some(text).filter(|text| !text.is_empty());
        let new = changes.new.into_iter().map(|one| NewDevice {
            external_id: one.external_id,
            name: one.name,
            group: non_empty(one.group),
            model: non_empty(one.model),
        });
        Self {
            dry_run,
            listed: changes.listed,
            new: new.collect(),
            found_again: changes.found_again,
            missing: changes.missing,
            changed: changes.changed,
            removed: changes.removed,
            left_out: changes.left_out,
        }
    }
}

/// Why there is no list.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum NoList {
    /// A bad query
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key is a reader's
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such connection, or not yours
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// Its provider does not say how devices are listed, or refuses its credential
    #[response(status = 409, content_type = "application/problem+json")]
    NotListed(Problem),
    /// The cloud's answer is no list: nothing was changed
    #[response(status = 502, content_type = "application/problem+json")]
    Unread(Problem),
}

/// Asks the cloud which devices a connection has, and keeps what has changed.
///
/// One call ahead of what waits, granted by the provider's quotas like any other; if they let none through within a few
/// seconds, or if the provider fails for many connections and other calls probe it, nothing is sent (503). A list that
/// fails changes nothing.
#[utoipa::path(
    post, path = "/v1/connections/{id}/discover", operation_id = "discover_devices", tag = "connections",
    security(("bearer" = [])),
    params(
        ("id" = String, Path, description = "The connection's number or label", example = "home"),
        How,
        IdempotencyKey,
    ),
    responses(NotServed, (status = 200, description = "What changed", body = Discovered), NoList, Refusals)
)]
pub(in crate::http) async fn discover(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<String>,
    Query(how): Query<How>,
) -> Result<Json<Discovered>, ApiError> {
    // Postgres knows no text with a NUL, and would call ours broken.
    let found = match connections::find(&api.app.pool, principal.tenant, &id.replace('\0', "")).await {
        Err(ConnectionError::Postgres(error)) => return Err(error.into()),
        found => found.map_err(|_| ApiError::NoSuchConnection(id))?,
    };
    let provider = api.app.registry.get(&found.provider);
    let provider = provider.ok_or(ApiError::NotListable(found.provider.clone()))?;
    let How { dry_run } = how;
    let (provider, tenant) = (provider.clone(), principal.tenant);
    let request = DiscoverRequest { provider, tenant, connection: found.id, timeout: TIMEOUT, dry_run };
    Ok(Json(Discovered::of(dry_run, discovery::discover(&api.app, request).await?)))
}
