//! Why a request cannot be made.

use crate::words::{ProviderName, ResourceName};
use minijinja::Error;

/// A request that cannot be made from what the connection and the device hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the {what} template does not render: {error}")]
    Template { what: String, error: Error },
    #[error(
        "the body of resource {resource} is no JSON ({error}): put each value in {{{{ … }}}} without quotes"
    )]
    NoJson { resource: ResourceName, error: serde_json::Error },
    #[error("{url:?} is no usable URL: {why}; check the connection's params")]
    Url { url: String, why: String },
    #[error(
        "the connection lacks the secret {name:?}, for which the provider asks: give it by `paceline connection secret`"
    )]
    NoSecret { name: String },
    #[error("auth names the header {name:?}, which is none, or what would stand in it cannot")]
    Header { name: String },
    #[error(
        "the connection has no token, and the provider asks for one: `paceline connection authorize` brings it"
    )]
    NoToken,
    #[error("{whose} has not given {name}, which the provider asks for")]
    NoClient { whose: &'static str, name: String },
    #[error("the operator has not set provider.{provider}.{name}, which the provider asks for")]
    NoOperatorSecret { provider: ProviderName, name: String },
}
