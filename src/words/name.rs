//! Names of providers and resources: short, lower-case, safe inside a Redis key and a file name.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a {what} name: use 1 to 40 lower-case letters, digits, '-' or '_', beginning with a letter"
)]
pub struct NameError {
    what: &'static str,
    text: String,
}

fn well_formed(text: &str) -> bool {
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
                match well_formed(&text) {
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
    /// A provider's name: that of its file in `config/providers/`.
    ProviderName,
    "provider"
);
name!(
    /// A resource's name within its provider, such as `state` or `energy`.
    ResourceName,
    "resource"
);

/// Behind a resource's name: its probe.
const PROBE: &str = ".probe";

impl ResourceName {
    /// What the listing of a connection's devices is called among resources.
    pub fn discovery() -> Self {
        Self("discovery".into())
    }

    /// What probing a resource is called among resources. No file can name one so.
    pub fn probe_of(&self) -> Self {
        Self(format!("{self}{PROBE}").into())
    }

    /// The resource itself, or that which this is the probe of.
    pub fn scheduled(&self) -> &str {
        self.0.strip_suffix(PROBE).unwrap_or(&self.0)
    }

    /// What asking for an account's bootstrap values is called among resources.
    pub fn bootstrap() -> Self {
        Self("bootstrap".into())
    }

    /// What requests for tokens are called where quotas name what they count.
    pub fn token() -> Self {
        Self("token".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_safe_in_keys_and_paths() {
        for good in ["netatmo", "signal-k", "a", "x_1"] {
            assert!(good.parse::<ProviderName>().is_ok(), "{good}");
        }
        for bad in ["", "Netatmo", "1st", "a{b}", "a/b", "a:b", "a b", &"x".repeat(41)] {
            assert!(bad.parse::<ProviderName>().is_err(), "{bad}");
        }
    }
}
