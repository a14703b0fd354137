//! Connections: accounts at providers, and how their owners authorize them.

pub(super) mod authorize;
pub(super) mod discover;
pub(super) mod import;
pub(super) mod one;
pub(super) mod preferences;
pub(super) mod test;

use super::Api;
use super::auth::{Authenticated, AuthenticatedUser};
use super::error::{ApiError, Problem};
use super::extract::{Json, Path};
use super::idempotency::{IdempotencyKey, NotServed};
use super::refusals::Refusals;
use crate::authorise::{self, AuthoriseError};
use crate::keep;
use crate::preference::connections::{self, ConnectionRow, NewConnection};
use crate::provider::Provider;
use crate::settings;
use crate::words::Secrets;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A new connection: an account at a provider.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"provider": "ambient-weather", "label": "roof", "secrets": {"api_key": "…"}}))]
pub(super) struct ConnectionRequest {
    /// The provider's name.
    provider: String,
    /// Your name for it, unique within your tenant.
    label: String,
    /// The parameters that the provider's definition requires.
    #[serde(default)]
    params: BTreeMap<String, String>,
    /// The secrets that the provider's definition requires. They are stored encrypted and never returned.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    secrets: BTreeMap<String, SecretString>,
}

/// New secrets for a connection; those not given stay as they are.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretsRequest {
    /// Secrets by name.
    #[schema(value_type = BTreeMap<String, String>)]
    secrets: BTreeMap<String, SecretString>,
}

/// The plan that a connection's account is on.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanChange {
    /// The plan's name in the provider's definition.
    #[schema(example = "auto-assist")]
    plan: String,
}

/// A stored connection.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct StoredConnection {
    /// The connection's number.
    id: i64,
    /// Whether its owner must still authorize it; `POST /v1/connections/{id}/authorize` returns the URL.
    awaits_owner: bool,
}

/// Your connections.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ConnectionList {
    /// Ordered by label.
    connections: Vec<ConnectionRow>,
}

/// Where an owner authorizes a connection.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AuthorizationUrl {
    /// Send the owner's browser here. The page names the connection and leads to the provider, which redirects the same
    /// browser back to this API, which shows the result.
    url: String,
    /// When the URL expires.
    #[schema(example = "2026-01-01T00:10:00.000Z")]
    expires_at: String,
}

/// Why a connection was not stored or changed.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum ConnectionRefusal {
    /// Malformed JSON, or not an id
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key has role `reader`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such connection, or not yours
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The label is taken, you have as many connections as you may have, or they are authorized in another way
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// The body exceeds the server's limit
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not `application/json`
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// The label is not accepted, or a required parameter or secret is missing or unknown to the provider
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
}

/// Lists your connections, without their secrets.
#[utoipa::path(
    get, path = "/v1/connections", operation_id = "list_connections", tag = "connections",
    security(("bearer" = [])),
    responses((status = 200, description = "Your connections", body = ConnectionList), Refusals)
)]
pub(super) async fn list(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
) -> Result<axum::Json<ConnectionList>, ApiError> {
    let connections = connections::list(&api.app.pool, principal.tenant).await?;
    Ok(axum::Json(ConnectionList { connections }))
}

/// Adds a connection.
#[utoipa::path(
    post, path = "/v1/connections", operation_id = "add_connection", tag = "connections", security(("bearer" = [])),
    params(IdempotencyKey),
    request_body = ConnectionRequest,
    responses(
        NotServed,
        (status = 201, description = "The connection is stored", body = StoredConnection),
        ConnectionRefusal,
        Refusals,
    )
)]
pub(super) async fn add(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Json(new): Json<ConnectionRequest>,
) -> Result<(StatusCode, axum::Json<StoredConnection>), ApiError> {
    let provider = api.app.registry.find(&new.provider).map_err(AuthoriseError::from)?;
    let label = new.label.parse()?;
    may_be_added(&api.app.settings.providers, provider)?;
    let connection = NewConnection {
        tenant: principal.tenant,
        provider: provider.name.clone(),
        label,
        params: new.params,
        secrets: Secrets::from_iter(new.secrets),
    };
    let added = authorise::add(&api.app, connection, Some(api.app.settings.tenant.connections_max)).await?;
    Ok((
        StatusCode::CREATED,
        axum::Json(StoredConnection { id: added.id.0, awaits_owner: added.awaits_owner }),
    ))
}

/// Whether users may add connections to a provider. A connection's params choose where calls go, and its devices show
/// what comes back: through one that may be called anywhere, a user could read the deployment's private network, or
/// have it call any host of the internet.
pub(super) fn may_be_added(settings: &settings::Providers, provider: &Provider) -> Result<(), ApiError> {
    let name = provider.name.to_string();
    match settings.private_networks.contains(&name) {
        true if !settings.private_by_api => Err(ApiError::PrivateProvider(name)),
        false if provider.has_open_hosts() => Err(ApiError::OpenHosts(name)),
        _ => Ok(()),
    }
}

/// Replaces secrets of a connection and resumes its jobs.
#[utoipa::path(
    put, path = "/v1/connections/{id}/secrets", operation_id = "put_secrets", tag = "connections",
    security(("bearer" = [])), request_body = SecretsRequest,
    params(("id" = i64, Path, description = "The connection's number", example = 3)),
    responses(
        (status = 200, description = "The secrets are stored", body = StoredConnection),
        ConnectionRefusal,
        Refusals,
    )
)]
pub(super) async fn put_secrets(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
    Json(new): Json<SecretsRequest>,
) -> Result<axum::Json<StoredConnection>, ApiError> {
    let found =
        connections::by_number(&api.app.pool, principal.tenant, id).await.map_err(AuthoriseError::from)?;
    let changed = Secrets::from_iter(new.secrets);
    let renewed = authorise::renew_secrets(&api.app, principal.tenant, &found, changed).await?;
    Ok(axum::Json(StoredConnection { id, awaits_owner: renewed.awaits_owner }))
}

/// Sets the provider's plan that a connection is on; that plan's limits apply from now on.
#[utoipa::path(
    put, path = "/v1/connections/{id}/plan", operation_id = "put_plan", tag = "connections",
    security(("bearer" = [])), request_body = PlanChange,
    params(("id" = i64, Path, description = "The connection's number", example = 3)),
    responses(
        (status = 200, description = "The connection is on this plan", body = PlanChange),
        ConnectionRefusal,
        Refusals,
    )
)]
pub(super) async fn put_plan(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
    Json(change): Json<PlanChange>,
) -> Result<axum::Json<PlanChange>, ApiError> {
    let found =
        connections::by_number(&api.app.pool, principal.tenant, id).await.map_err(AuthoriseError::from)?;
    keep::set_plan(&api.app, principal.tenant, &found, &change.plan).await?;
    Ok(axum::Json(change))
}

/// Returns the URL at which a connection's owner authorizes it. Each new URL invalidates the previous one.
#[utoipa::path(
    post, path = "/v1/connections/{id}/authorize", operation_id = "authorize_connection", tag = "connections",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The connection's number", example = 3)),
    responses(
        (status = 200, description = "The authorization URL", body = AuthorizationUrl),
        ConnectionRefusal,
        Refusals,
    )
)]
pub(super) async fn authorize(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
) -> Result<axum::Json<AuthorizationUrl>, ApiError> {
    let app = &api.app;
    let found =
        connections::by_number(&app.pool, principal.tenant, id).await.map_err(AuthoriseError::from)?;
    let provider = app.registry.find(&found.provider).map_err(AuthoriseError::from)?;
    let opened = connections::open_any(&app.pool, &app.sealer, principal.tenant, found.id).await;
    // Exchanging the code may need a reservation, and for that Redis must know what each quota has spent.
    if let Err(error) = crate::keep::rebuild_if_lost(app, &provider.name).await {
        tracing::debug!(%error, "could not check whether the schedule was lost");
    }
    let started = authorise::begin(app, provider, &opened.map_err(AuthoriseError::from)?).await?;
    let url = started.start_url.ok_or_else(|| AuthoriseError::NoRedirectUrl(provider.name.to_string()))?;
    Ok(axum::Json(AuthorizationUrl { url, expires_at: started.expires_at.to_string() }))
}
