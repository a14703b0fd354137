//! Connections: accounts at providers, and how their owners authorize them.

use super::Api;
use super::auth::{Authenticated, AuthenticatedUser};
use super::error::{ApiError, Problem};
use super::extract::{Json, Path, Query};
use super::refusals::Refusals;
use crate::authorise::{self, AuthoriseError, Callback};
use crate::keep;
use crate::preference::connections::{self, ConnectionRow, NewConnection};
use crate::words::Secrets;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
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
    /// Send the owner's browser here. The provider redirects it back to this API, which shows the result.
    url: String,
    /// When the URL expires.
    #[schema(example = "2026-01-01T00:10:00.000Z")]
    expires_at: String,
}

/// The query of the provider's redirect.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    /// The state that the authorization URL carried.
    #[param(value_type = Option<String>)]
    state: Option<SecretString>,
    /// The code to exchange for a token.
    #[param(value_type = Option<String>)]
    code: Option<SecretString>,
    /// Why there is no code.
    error: Option<String>,
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
    request_body = ConnectionRequest,
    responses(
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
    // A connection's params choose where calls go, and its devices show what comes back: through such a provider a
    // user could read the deployment's private network.
    let settings = &api.app.settings.providers;
    if settings.private_networks.contains(provider.name.as_str()) && !settings.private_by_api {
        return Err(ApiError::PrivateProvider(provider.name.to_string()));
    }
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
    Ok(axum::Json(AuthorizationUrl { url: started.url, expires_at: started.expires_at.to_string() }))
}

/// Completes an authorization. Needs no key: the `state` authenticates the request and works once.
#[utoipa::path(
    get, path = "/v1/authorize/callback", operation_id = "authorize_callback", tag = "connections",
    params(CallbackQuery),
    responses(
        (status = 200, description = "The connection is authorized", body = String, content_type = "text/html"),
        (status = 400, description = "`state` or `code` is missing", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "The owner refused, or the state has expired or was used", body = Problem,
            content_type = "application/problem+json"),
        (status = 502, description = "The provider returned no token", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn callback(
    State(api): State<Api>,
    Query(query): Query<CallbackQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let state =
        query.state.ok_or_else(|| ApiError::BadQuery("missing `state` query parameter".to_owned()))?;
    let callback = match (query.error, query.code) {
        (Some(error), _) => Callback::Error(error.chars().take(200).collect()),
        (None, Some(code)) => Callback::Code(code),
        (None, None) => return Err(ApiError::BadQuery("missing `code` query parameter".to_owned())),
    };
    let app = api.app.clone();
    // The code works once: its token must be stored even if the browser disconnects meanwhile.
    let finished = api.app.detached.spawn(async move {
        authorise::finish(&app, &state, &callback).await?;
        // If this fails, the keeper drains the outbox later.
        let _ = crate::keep::drain(&app).await;
        Ok::<_, AuthoriseError>(())
    });
    finished.await.map_err(|error| ApiError::Internal(error.into()))??;
    let page =
        "<!doctype html><title>Paceline</title><p>The connection is authorised. You may close this page.</p>";
    // The page's URL contains the code and the state.
    Ok(([(header::REFERRER_POLICY, "no-referrer"), (header::CACHE_CONTROL, "no-store")], Html(page)))
}
