//! Webhooks: what tenants set, how far deliveries are, and their sealed secrets.

pub mod deliveries;
mod overview;
mod reseal;
mod stored;

pub use overview::{TenantWebhook, of_tenants};
pub use reseal::{SealedWebhook, replace, sealed_by_other_keys};
pub use stored::{
    NewWebhook, StoredWebhook, WebhookChange, WebhookFilter, add, change, find, list, remove, rewind, rotate,
    secrets,
};

use crate::postgres::PostgresError;
use crate::seal::SealError;
use crate::words::WebhookId;

/// Why a webhook is not stored, found or opened.
#[derive(Debug, thiserror::Error)]
pub enum WebhookStoreError {
    /// The tenant has none of this number.
    #[error("there is no webhook {0} of this tenant")]
    Unknown(WebhookId),
    /// The tenant has as many as it may have.
    #[error("there are {max} webhooks, as many as a tenant may have")]
    TooMany {
        /// The limit.
        max: u32,
    },
    /// Its secrets.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}
