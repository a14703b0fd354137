//! Errors of names, secrets, params and plans that somebody gave.

use crate::words::TextError;
use crate::words::text::excerpt;

/// The most params of a connection, where the definition does not say which there are.
pub(super) const PARAMS_MAX: usize = 32;

/// A name, secret, param or plan that a provider does not have, or lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No such provider.
    #[error("there is no provider {:?}: use one of {known}", excerpt(.asked))]
    Provider {
        /// The requested name.
        asked: String,
        /// The existing names.
        known: String,
    },
    /// No such resource.
    #[error("provider {provider} has no resource {:?}: use one of {known}", excerpt(.asked))]
    Resource {
        /// The provider.
        provider: String,
        /// The requested name.
        asked: String,
        /// The existing names.
        known: String,
    },
    /// Required secrets are missing.
    #[error("provider {provider} needs {what}: add it (--secret-file, --secret-stdin; in the API `secrets`)")]
    NoSecret {
        /// The provider.
        provider: String,
        /// The missing names, each with its description.
        what: String,
    },
    /// No secret was given, and the provider takes none.
    #[error(
        "no secret was given, and provider {provider} takes none: nothing was changed; to authorize the connection \
         again, let its owner use `paceline connection authorize`, or in the API POST \
         /v1/connections/ID/authorize"
    )]
    NoSecretGiven {
        /// The provider.
        provider: String,
    },
    /// The provider takes no secret of this name.
    #[error("provider {provider} takes no secret {:?}: {known}", excerpt(.asked))]
    NeedlessSecret {
        /// The provider.
        provider: String,
        /// The given name.
        asked: String,
        /// The secrets that it takes.
        known: String,
    },
    /// Required params are missing.
    #[error("provider {provider} needs {what}: add it (--param NAME=VALUE; in the API `params`)")]
    NoParam {
        /// The provider.
        provider: String,
        /// The missing names, each with its description.
        what: String,
    },
    /// The provider has no param of this name.
    #[error("provider {provider} has no param {:?}: {known}", excerpt(.asked))]
    NeedlessParam {
        /// The provider.
        provider: String,
        /// The given name.
        asked: String,
        /// The params that it has.
        known: String,
    },
    /// There are more params than any provider needs.
    #[error(
        "{found} params were given, and at most {PARAMS_MAX} are taken: leave out what {provider} does not need"
    )]
    ManyParams {
        /// The provider.
        provider: String,
        /// How many.
        found: usize,
    },
    /// A param's value is not of its kind.
    #[error("the param {name} of provider {provider}, {:?}, {why}", excerpt(.asked))]
    BadParam {
        /// The provider.
        provider: String,
        /// The param.
        name: String,
        /// Its value.
        asked: String,
        /// Why.
        why: String,
    },
    /// A param names a host that is not among the provider's.
    #[error(
        "the param {name} of provider {provider} names the host {:?}: it must be {known}; an operator allows others in \
         the setting providers.hosts",
        excerpt(.host)
    )]
    ForeignHost {
        /// The provider.
        provider: String,
        /// The param.
        name: String,
        /// The host.
        host: String,
        /// The hosts that are allowed.
        known: String,
    },
    /// The provider has no such plan.
    #[error("provider {provider} has no plan {:?}: {known}", excerpt(.asked))]
    Plan {
        /// The provider.
        provider: String,
        /// The requested name.
        asked: String,
        /// The existing plans.
        known: String,
    },
    /// A param or secret is too long or has characters that none has.
    #[error(transparent)]
    Value(#[from] TextError),
    /// An operator's secret is missing.
    #[error(
        "provider {provider} needs the operator's secret {asked}: set provider.{provider}.{asked} in the settings, or \
         {variable} in the environment"
    )]
    NoOperatorSecret {
        /// The provider.
        provider: String,
        /// The missing name.
        asked: String,
        /// Its environment variable.
        variable: String,
    },
}

impl LookupError {
    /// The text for users of the API, who have neither commands nor settings.
    pub fn for_users(&self) -> String {
        match self {
            Self::NoSecret { provider, what } => {
                format!("provider {provider} needs {what}: add it to `secrets`")
            }
            Self::NoParam { provider, what } => {
                format!("provider {provider} needs {what}: add it to `params`")
            }
            Self::NoSecretGiven { provider } => format!(
                "no secret was given, and provider {provider} takes none: nothing was changed; to authorize the \
                 connection again, get the URL with POST /v1/connections/ID/authorize"
            ),
            Self::NoOperatorSecret { provider, .. } => {
                format!("the operator has not set up provider {provider} yet: ask them to")
            }
            Self::ForeignHost { provider, name, host, known } => format!(
                "the param {name} of provider {provider} names the host {:?}: it must be {known}; ask the operator for \
                 others",
                excerpt(host)
            ),
            _ => self.to_string(),
        }
    }
}
