//! Connections: accounts at providers, and how their owners allow them.

use super::Api;
use super::auth::{Caller, Owner};
use super::error::{ApiError, Problem};
use super::extract::{Json, Path, Query};
use super::openapi::Refusals;
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

/// An account at a provider.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"provider": "ambient-weather", "label": "roof", "secrets": {"api_key": "…"}}))]
pub(super) struct NewAccount {
    /// Where.
    provider: String,
    /// What to call it.
    label: String,
    /// What the provider's definition asks for beside secrets.
    #[serde(default)]
    params: BTreeMap<String, String>,
    /// The secrets that it asks for. They are sealed, and never answered.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, String>)]
    secrets: BTreeMap<String, SecretString>,
}

/// New secrets for an account; those that are not given stay.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSecrets {
    /// By name.
    #[schema(value_type = BTreeMap<String, String>)]
    secrets: BTreeMap<String, SecretString>,
}

/// Which plan an account is on.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OnPlan {
    /// Its name, as the provider's definition has it.
    #[schema(example = "auto-assist")]
    plan: String,
}

/// An account that was stored.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Stored {
    /// Its number.
    id: i64,
    /// Whether its owner has still to allow it: `POST /v1/connections/{id}/authorize` says where.
    awaits_owner: bool,
}

/// Your connections.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Listed {
    /// By label.
    connections: Vec<ConnectionRow>,
}

/// Where an owner goes to allow a connection.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct AuthorizationUrl {
    /// Send the owner's browser here. It comes back to this API, which tells the owner what came of it.
    url: String,
    /// Until when.
    #[schema(example = "2026-01-01T00:10:00.000Z")]
    expires_at: String,
}

/// What a browser comes back with.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallbackQuery {
    /// As it was sent.
    #[param(value_type = Option<String>)]
    state: Option<SecretString>,
    /// What is exchanged for a token.
    #[param(value_type = Option<String>)]
    code: Option<SecretString>,
    /// Why there is none.
    error: Option<String>,
}

/// Why a connection was not stored.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "its variants are documentation")]
enum NotStored {
    /// Malformed JSON, or not an id
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The key is a reader's
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// No such connection, or not yours
    #[response(status = 404, content_type = "application/problem+json")]
    NoSuch(Problem),
    /// The label is taken, or the provider works in another way
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// It lacks what the provider's definition asks for, or has what that does not know
    #[response(status = 422, content_type = "application/problem+json")]
    Lacking(Problem),
}

/// Lists your connections: never their secrets.
#[utoipa::path(
    get, path = "/v1/connections", operation_id = "list_connections", tag = "connections",
    security(("bearer" = [])),
    responses((status = 200, description = "Your connections", body = Listed), Refusals)
)]
pub(super) async fn list(
    State(api): State<Api>,
    Caller(who): Caller,
) -> Result<axum::Json<Listed>, ApiError> {
    let connections = connections::list(&api.app.pool, who.tenant).await?;
    Ok(axum::Json(Listed { connections }))
}

/// Adds a connection.
#[utoipa::path(
    post, path = "/v1/connections", operation_id = "add_connection", tag = "connections", security(("bearer" = [])),
    request_body = NewAccount,
    responses((status = 201, description = "It is stored", body = Stored), NotStored, Refusals)
)]
pub(super) async fn add(
    State(api): State<Api>,
    Owner(who): Owner,
    Json(new): Json<NewAccount>,
) -> Result<(StatusCode, axum::Json<Stored>), ApiError> {
    let provider = api.app.registry.find(&new.provider).map_err(AuthoriseError::from)?;
    if new.label.trim().is_empty() {
        return Err(ApiError::NoLabel);
    }
    // Their params say where calls go, and answers are told.
    let settings = &api.app.settings.providers;
    if settings.private_networks.contains(provider.name.as_str()) && !settings.private_by_api {
        return Err(ApiError::PrivateProvider(provider.name.to_string()));
    }
    let connection = NewConnection {
        tenant: who.tenant,
        provider: provider.name.clone(),
        label: new.label,
        params: new.params,
        secrets: Secrets::from_iter(new.secrets),
    };
    let added = authorise::add(&api.app, connection).await?;
    Ok((StatusCode::CREATED, axum::Json(Stored { id: added.id.0, awaits_owner: added.awaits_owner })))
}

/// Gives a connection new secrets and puts it back to work.
#[utoipa::path(
    put, path = "/v1/connections/{id}/secrets", operation_id = "put_secrets", tag = "connections",
    security(("bearer" = [])), request_body = NewSecrets,
    params(("id" = i64, Path, description = "The connection's number", example = 3)),
    responses((status = 200, description = "They are stored", body = Stored), NotStored, Refusals)
)]
pub(super) async fn put_secrets(
    State(api): State<Api>,
    Owner(who): Owner,
    Path(id): Path<i64>,
    Json(new): Json<NewSecrets>,
) -> Result<axum::Json<Stored>, ApiError> {
    let found = connections::by_number(&api.app.pool, who.tenant, id).await.map_err(AuthoriseError::from)?;
    let changed = Secrets::from_iter(new.secrets);
    let renewed = authorise::renew_secrets(&api.app, who.tenant, &found, changed).await?;
    Ok(axum::Json(Stored { id, awaits_owner: renewed.awaits_owner }))
}

/// Says which of its provider's plans a connection is on: its limits are that plan's from now on.
#[utoipa::path(
    put, path = "/v1/connections/{id}/plan", operation_id = "put_plan", tag = "connections",
    security(("bearer" = [])), request_body = OnPlan,
    params(("id" = i64, Path, description = "The connection's number", example = 3)),
    responses((status = 200, description = "It is on that plan", body = OnPlan), NotStored, Refusals)
)]
pub(super) async fn put_plan(
    State(api): State<Api>,
    Owner(who): Owner,
    Path(id): Path<i64>,
    Json(on): Json<OnPlan>,
) -> Result<axum::Json<OnPlan>, ApiError> {
    let found = connections::by_number(&api.app.pool, who.tenant, id).await.map_err(AuthoriseError::from)?;
    keep::set_plan(&api.app, who.tenant, &found, &on.plan).await?;
    Ok(axum::Json(on))
}

/// Says where a connection's owner goes to allow it. A later answer takes the place of an earlier one.
#[utoipa::path(
    post, path = "/v1/connections/{id}/authorize", operation_id = "authorize_connection", tag = "connections",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The connection's number", example = 3)),
    responses((status = 200, description = "Where to", body = AuthorizationUrl), NotStored, Refusals)
)]
pub(super) async fn authorize(
    State(api): State<Api>,
    Owner(who): Owner,
    Path(id): Path<i64>,
) -> Result<axum::Json<AuthorizationUrl>, ApiError> {
    let app = &api.app;
    let found = connections::by_number(&app.pool, who.tenant, id).await.map_err(AuthoriseError::from)?;
    let provider = app.registry.find(&found.provider).map_err(AuthoriseError::from)?;
    let opened = connections::open_any(&app.pool, &app.sealer, who.tenant, found.id).await;
    // The exchange may need a quota's leave, and then Redis must know what is spent.
    if let Err(error) = crate::keep::rebuild_if_lost(app, &provider.name).await {
        tracing::debug!(%error, "schedule not looked at");
    }
    let begun = authorise::begin(app, provider, &opened.map_err(AuthoriseError::from)?).await?;
    Ok(axum::Json(AuthorizationUrl { url: begun.url, expires_at: begun.expires_at.to_string() }))
}

/// Where an owner's browser comes back to. Its state is all that it needs, and is good once.
#[utoipa::path(
    get, path = "/v1/authorize/callback", operation_id = "authorize_callback", tag = "connections",
    params(CallbackQuery),
    responses(
        (status = 200, description = "It is allowed", body = String, content_type = "text/html"),
        (status = 400, description = "No state or no code", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was not allowed, or the way back is stale", body = Problem,
            content_type = "application/problem+json"),
        (status = 502, description = "The provider gave no token", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(super) async fn callback(
    State(api): State<Api>,
    Query(back): Query<CallbackQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let state = back.state.ok_or_else(|| ApiError::BadQuery("the way back has no state".to_owned()))?;
    let callback = match (back.error, back.code) {
        (Some(error), _) => Callback::Error(error.chars().take(200).collect()),
        (None, Some(code)) => Callback::Code(code),
        (None, None) => return Err(ApiError::BadQuery("the way back has no code".to_owned())),
    };
    let app = api.app.clone();
    // The code is good once: what it brings is kept even if the browser goes away meanwhile.
    let finished = api.app.detached.spawn(async move {
        authorise::finish(&app, &state, &callback).await?;
        // Else the keeper does it.
        let _ = crate::keep::drain(&app).await;
        Ok::<_, AuthoriseError>(())
    });
    finished.await.map_err(|error| ApiError::Internal(error.into()))??;
    let page =
        "<!doctype html><title>Paceline</title><p>The connection is authorised. You may close this page.</p>";
    // The address holds what was exchanged.
    Ok(([(header::REFERRER_POLICY, "no-referrer"), (header::CACHE_CONTROL, "no-store")], Html(page)))
}
