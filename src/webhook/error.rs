//! Why a webhook is not stored, changed or delivered to.

use crate::postgres::PostgresError;
use crate::preference::webhooks::WebhookStoreError;
use crate::read::ReadError;
use crate::redis::RedisError;
use crate::seal::SealError;
use crate::words::{TextError, WebhookId};

/// Why something of a webhook failed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// There is no such webhook.
    #[error("the tenant has no webhook {0}; `paceline webhook list` shows them")]
    Unknown(WebhookId),
    /// The tenant has as many as it may have.
    #[error("there are {max} webhooks, as many as a tenant may have")]
    TooMany {
        /// The limit.
        max: u32,
    },
    /// It cannot be as asked, and why.
    #[error("{0}")]
    Refused(String),
    /// It cannot be a label.
    #[error(transparent)]
    Label(#[from] TextError),
    /// Its secrets.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The HTTP client cannot be built.
    #[error("{0}")]
    Client(String),
    /// The changes.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The devices that changed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

impl From<WebhookStoreError> for WebhookError {
    fn from(error: WebhookStoreError) -> Self {
        match error {
            WebhookStoreError::Unknown(id) => Self::Unknown(id),
            WebhookStoreError::TooMany { max } => Self::TooMany { max },
            WebhookStoreError::Seal(error) => Self::Seal(error),
            WebhookStoreError::Postgres(error) => Self::Postgres(error),
        }
    }
}
