//! Identifiers. Each is Postgres's identity value in a type of its own, so that one is never taken for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    /// A customer of the deployment.
    TenantId
);
id!(
    /// A tenant's credentialed account at a provider.
    ConnectionId
);
id!(
    /// One thing at the provider, under one connection.
    DeviceId
);
id!(
    /// The recurring sync of one resource of one device.
    JobId
);
id!(
    /// One granted call. It is the call's fence too: a later call has the larger number, across crashes and rebuilds.
    CallId
);
