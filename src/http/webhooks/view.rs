//! Webhooks as the API shows and takes them.

use crate::http::Api;
use crate::http::error::ApiError;
use crate::preference::connections::{self, ConnectionError};
use crate::webhook::{StoredWebhook, WebhookFilter};
use crate::words::{DeviceId, TenantId, UnixMs};
use serde::{Deserialize, Serialize};

/// Which changes are posted: those that are all of this. Without any, all of yours.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"provider": "meadow", "connection": "home"}))]
pub(in crate::http) struct FilterRequest {
    /// Only of these devices, at most 500.
    devices: Option<Vec<DeviceId>>,
    /// Only at this provider.
    provider: Option<String>,
    /// Only of the connection with this label or number.
    connection: Option<String>,
    /// Only of this home or site.
    group: Option<String>,
}

/// Which changes are posted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct FilterView {
    /// Only of these devices; null: of any.
    devices: Option<Vec<i64>>,
    /// Only at this provider; null: at any.
    provider: Option<String>,
    /// Only of the connection with this number; null: of any.
    connection: Option<i64>,
    /// Only of this home or site; null: of any.
    group: Option<String>,
}

/// How deliveries to a webhook go.
#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum WebhookState {
    /// The last attempt succeeded, or there was none yet.
    Delivering,
    /// The last attempt failed; it is repeated.
    Failing,
    /// Nothing is sent until you enable it with `PATCH` and `{"enabled": true}`.
    Disabled,
}

/// A webhook, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct WebhookView {
    /// Its number.
    #[schema(example = 5)]
    id: i64,
    /// Your name for it; may be empty.
    #[schema(example = "backend")]
    label: String,
    /// Where changes are posted.
    #[schema(example = "https://example.com/paceline")]
    url: String,
    filter: FilterView,
    state: WebhookState,
    /// Since when it fails, or is disabled.
    since: Option<UnixMs3339>,
    /// Why it fails, or is disabled.
    #[schema(example = "the receiver answered 503")]
    reason: Option<String>,
    /// When it is tried again, if it fails.
    next_try_at: Option<UnixMs3339>,
    /// The status of the last response.
    last_status: Option<u16>,
    /// When something was last delivered.
    delivered_at: Option<UnixMs3339>,
    /// The last change that was delivered: the id of its event.
    #[schema(example = "1760000000000-0")]
    cursor: Option<String>,
    created_at: UnixMs3339,
}

/// An instant as text.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(example = "2026-01-01T00:10:00.000Z")]
pub(in crate::http) struct UnixMs3339(String);

impl From<UnixMs> for UnixMs3339 {
    fn from(at: UnixMs) -> Self {
        Self(at.to_string())
    }
}

impl From<StoredWebhook> for WebhookView {
    fn from(stored: StoredWebhook) -> Self {
        let (state, since, reason) = match (stored.disabled_at, stored.failing_since) {
            (Some(at), _) => (WebhookState::Disabled, Some(at), stored.disabled_reason),
            (None, Some(at)) => (WebhookState::Failing, Some(at), stored.last_error),
            (None, None) => (WebhookState::Delivering, None, None),
        };
        Self {
            id: stored.id.0,
            label: stored.label,
            url: stored.url,
            filter: FilterView {
                devices: stored.filter.devices,
                provider: stored.filter.provider,
                connection: stored.filter.connection,
                group: stored.filter.group,
            },
            state,
            since: since.map(Into::into),
            reason,
            next_try_at: stored.next_try_at.map(Into::into),
            last_status: stored.last_status,
            delivered_at: stored.delivered_at.map(Into::into),
            cursor: stored.cursor,
            created_at: stored.created_at.into(),
        }
    }
}

impl FilterRequest {
    /// The filter as it is stored.
    pub(super) async fn stored(self, api: &Api, tenant: TenantId) -> Result<WebhookFilter, ApiError> {
        let connection = match self.connection {
            Some(label) => match connections::find(&api.app.pool, tenant, &label).await {
                Ok(found) => Some(found.id.0),
                Err(ConnectionError::Postgres(error)) => return Err(error.into()),
                Err(_) => return Err(ApiError::NoSuchConnection(label)),
            },
            None => None,
        };
        Ok(WebhookFilter {
            devices: self.devices.map(|ids| ids.iter().map(|id| id.0).collect()),
            provider: self.provider,
            connection,
            group: self.group,
        })
    }
}
