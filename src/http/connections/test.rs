//! Whether a connection works: one call, or one request for a token.

use super::ConnectionRefusal;
use crate::authorise::AuthoriseError;
use crate::discovery::{self, DiscoverRequest};
use crate::http::Api;
use crate::http::auth::AuthenticatedUser;
use crate::http::error::{ApiError, Problem};
use crate::http::extract::Path;
use crate::http::idempotency::{IdempotencyKey, NotServed};
use crate::http::refusals::Refusals;
use crate::preference::connections::{self, ConnectionRef};
use crate::provider::Provider;
use crate::trial::{self, LoginOutcome, LoginRequest, TrialError, TrialRequest};
use crate::words::{Outcome, ResourceName, Secrets, TenantId};
use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// How long the quotas may take: a client waits for the response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What was asked of the provider.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum Asked {
    /// The state of the connection's first device.
    Device,
    /// The list of its devices.
    List,
    /// A token.
    Token,
}

/// What the test came to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct ConnectionTest {
    /// Whether the provider accepts the connection's credential and answers.
    works: bool,
    /// What was asked of the provider.
    asked: Asked,
    /// What that came to: as in events, or `granted` for a token.
    #[schema(example = "fresh")]
    outcome: String,
    /// Details, as why it does not work; null if there are none.
    #[schema(required = true, example = "HTTP 401")]
    reason: Option<String>,
    /// From the request to the end of the response, ms.
    #[schema(example = 180)]
    took_ms: u64,
}

/// Tests whether a connection works, by one call ahead of what waits.
///
/// The call is for its first device; if it has none, for the list of its devices; if the provider has none, for a
/// token. It is granted by the provider's quotas like any other: if they let none through within a few seconds, nothing
/// is sent (503). A reading that it brings is not stored. A connection whose credential was refused before is active
/// again if it works.
#[utoipa::path(
    post, path = "/v1/connections/{id}/test", operation_id = "test_connection", tag = "connections",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The connection's number", example = 3), IdempotencyKey),
    responses(
        NotServed,
        (status = 200, description = "What the test came to", body = ConnectionTest),
        (status = 502, description = "The provider returned no token, or not the values that its calls need",
            body = Problem, content_type = "application/problem+json"),
        ConnectionRefusal,
        Refusals,
    )
)]
pub(in crate::http) async fn test(
    State(api): State<Api>,
    AuthenticatedUser(principal): AuthenticatedUser,
    Path(id): Path<i64>,
) -> Result<axum::Json<ConnectionTest>, ApiError> {
    let (app, tenant) = (&api.app, principal.tenant);
    let found = connections::by_number(&app.pool, tenant, id).await.map_err(AuthoriseError::from)?;
    let provider = app.registry.find(&found.provider).map_err(AuthoriseError::from)?.clone();
    let tested = match by_device(&api, tenant, &found, &provider).await {
        Err(TrialError::NoDevice) if provider.call(ResourceName::discovery().as_str()).is_some() => {
            by_list(&api, tenant, &found, provider).await?
        }
        Err(TrialError::NoDevice) => by_token(&api, tenant, &found, provider).await?,
        tested => tested?,
    };
    Ok(axum::Json(tested))
}

async fn by_device(
    api: &Api,
    tenant: TenantId,
    found: &ConnectionRef,
    provider: &Arc<Provider>,
) -> Result<ConnectionTest, TrialError> {
    let by_default = provider.default_jobs().into_iter().map(|(name, ..)| name).next();
    let resource = by_default.or_else(|| provider.resource_names().next().cloned());
    let request = TrialRequest {
        provider: provider.clone(),
        tenant,
        connection: found.id,
        devices: Vec::new(),
        resource: resource.ok_or(TrialError::NoDevice)?,
        timeout: TIMEOUT,
    };
    let tried = trial::run(&api.app, request).await?;
    let outcome = tried.outcomes().find_map(|(_, outcome)| outcome);
    Ok(ConnectionTest::of(Asked::Device, outcome, tried.took))
}

async fn by_list(
    api: &Api,
    tenant: TenantId,
    found: &ConnectionRef,
    provider: Arc<Provider>,
) -> Result<ConnectionTest, ApiError> {
    let request = DiscoverRequest { provider, tenant, connection: found.id, timeout: TIMEOUT, dry_run: true };
    let tried = discovery::try_list(&api.app, request).await?;
    Ok(match &tried.listing.devices {
        Ok(devices) => ConnectionTest {
            works: true,
            asked: Asked::List,
            outcome: "listed".to_owned(),
            reason: Some(format!("{} devices", devices.len())),
            took_ms: ms(tried.took),
        },
        Err(outcome) => ConnectionTest::of(Asked::List, Some(outcome), tried.took),
    })
}

async fn by_token(
    api: &Api,
    tenant: TenantId,
    found: &ConnectionRef,
    provider: Arc<Provider>,
) -> Result<ConnectionTest, ApiError> {
    let (connection, secrets) = (found.id, Secrets::default());
    let request = LoginRequest { provider, tenant, connection, secrets, timeout: TIMEOUT };
    let tried = trial::try_login(&api.app, request).await?;
    let (works, outcome, reason) = match tried.outcome {
        LoginOutcome::Granted(_) => (true, "granted", None),
        LoginOutcome::Refused(reason) => (false, "unauthorized", Some(reason)),
        LoginOutcome::Later(reason) => (false, "transient", Some(reason)),
    };
    let (outcome, took_ms) = (outcome.to_owned(), ms(tried.took));
    Ok(ConnectionTest { works, asked: Asked::Token, outcome, reason, took_ms })
}

impl ConnectionTest {
    fn of(asked: Asked, outcome: Option<&Outcome>, took: Duration) -> Self {
        let works = matches!(
            outcome,
            Some(
                Outcome::Fresh(_)
                    | Outcome::Unchanged
                    | Outcome::DeviceOffline
                    | Outcome::NoData { .. }
                    | Outcome::Gone { .. }
            )
        );
        Self {
            works,
            asked,
            outcome: outcome.map_or("nothing", Outcome::as_str).to_owned(),
            reason: outcome.map(Outcome::detail).filter(|detail| !detail.is_empty()),
            took_ms: ms(took),
        }
    }
}

fn ms(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
