//! Identifiers: Postgres identity values, each kind in its own type so that they cannot be confused.

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
    /// One device at the provider, under one connection.
    DeviceId
);
id!(
    /// The recurring sync of one resource of one device.
    JobId
);
id!(
    /// An address to which a tenant's changes are posted.
    WebhookId
);
id!(
    /// One granted call. Also the call's fence: a later call has a larger number, across crashes and rebuilds.
    CallId
);
