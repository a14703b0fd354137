//! Errors of building a request.

use crate::words::{ProviderName, ResourceName};
use minijinja::Error;

/// Why a request cannot be built from the definition, the connection and the device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the {what} template does not render: {error}")]
    Template { what: String, error: Error },
    #[error(
        "the body of resource {resource} is not valid JSON ({error}): write each {{{{ … }}}} without quotes"
    )]
    InvalidJson { resource: ResourceName, error: serde_json::Error },
    #[error("{url:?} is not a usable URL: {reason}; check the connection's params")]
    Url { url: String, reason: String },
    #[error("the connection has no secret {name:?}, which the provider requires: give it new secrets")]
    NoSecret { name: String },
    #[error(
        "{name:?} is not a valid header name, or its value is not a valid header value: check auth in the definition \
         and the secrets"
    )]
    Header { name: String },
    #[error("the connection has no token, which the provider requires: its owner must authorize it")]
    NoToken,
    #[error("{owner} has not set {name}, which the provider requires")]
    NoClient { owner: &'static str, name: String },
    #[error("the operator has not set {name}, which provider {provider} requires")]
    NoOperatorSecret { provider: ProviderName, name: String },
}
