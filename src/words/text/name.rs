//! Names of providers and resources: short, lower-case, safe in Redis keys and file names.

use super::excerpt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{:?} is not a {what} name: use 1 to 40 lower-case letters, digits, '-' or '_', starting with a letter",
    excerpt(.text)
)]
pub struct NameError {
    what: &'static str,
    text: String,
}

fn is_valid(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                match is_valid(&text) {
                    true => Ok(Self(text.into())),
                    false => Err(NameError { what: $what, text }),
                }
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A provider's name: the name of its file in `config/providers/`.
    ProviderName,
    "provider"
);
name!(
    /// A resource's name within its provider, such as `state` or `energy`.
    ResourceName,
    "resource"
);

/// Suffix of a resource's name that stands for its probe.
const PROBE: &str = ".probe";

impl ResourceName {
    /// The name under which discovery counts as a resource.
    pub fn discovery() -> Self {
        Self("discovery".into())
    }

    /// The name under which a resource's probe counts as a resource. No definition can use it.
    pub fn probe_of(&self) -> Self {
        Self(format!("{self}{PROBE}").into())
    }

    /// The scheduled resource: this one, or the one that this is the probe of.
    pub fn scheduled(&self) -> &str {
        self.0.strip_suffix(PROBE).unwrap_or(&self.0)
    }

    /// The name under which a request for bootstrap values counts as a resource.
    pub fn bootstrap() -> Self {
        Self("bootstrap".into())
    }

    /// The name of token requests in a quota's `resources`.
    pub fn token() -> Self {
        Self("token".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_unsafe_in_keys_or_paths_are_rejected() {
        for good in ["netatmo", "signal-k", "a", "x_1"] {
            assert!(good.parse::<ProviderName>().is_ok(), "{good}");
        }
        for bad in ["", "Netatmo", "1st", "a{b}", "a/b", "a:b", "a b", &"x".repeat(41)] {
            assert!(bad.parse::<ProviderName>().is_err(), "{bad}");
        }
    }
}
