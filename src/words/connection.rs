//! A tenant's account at a provider, with the credentials to use it.

use super::{ConnectionId, ProviderName, Secrets, TenantId, Token};
use std::collections::BTreeMap;

/// A connection with decrypted secrets. Kept in memory only while a call is made.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// The tenant that owns it.
    pub tenant: TenantId,
    /// The provider.
    pub provider: ProviderName,
    /// Values for the provider's templates that are not secret.
    pub params: BTreeMap<String, String>,
    /// Bootstrap values that calls need, by the names in the definition.
    pub bootstrap: BTreeMap<String, String>,
    /// The request that returned the bootstrap values; none if not asked since the secrets were stored.
    pub bootstrap_of: Option<String>,
    /// How many devices it has; 0 where no quota depends on the number.
    pub devices: u32,
    /// Grows with each change of its secrets or grant: a response to older ones does not count against newer ones.
    pub secrets_version: i64,
    /// Whether it may be called.
    pub state: ConnectionState,
    /// Its credentials, by the names in the definition.
    pub secrets: Secrets,
    /// The current token, where the provider uses a login or OAuth 2.0.
    pub token: Option<Token>,
}

/// Whether a connection's devices are refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// They are.
    Active,
    /// The provider refuses its credential: one job probes it.
    NeedsReauth,
    /// A person paused it: nothing is called until a person resumes it.
    Paused,
    /// A person closed it: its secrets are deleted; its devices and their history stay.
    Closed,
}

impl ConnectionState {
    /// The state of this name in Postgres and the API.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "active" => Some(Self::Active),
            "needs_reauth" => Some(Self::NeedsReauth),
            "paused" => Some(Self::Paused),
            "closed" => Some(Self::Closed),
            _ => None,
        }
    }

    /// Whether its jobs are scheduled.
    pub fn is_active(self) -> bool {
        self == Self::Active
    }
}

/// The plan of a connection's account and its number of known devices.
///
/// The default applies where neither is known: no provider has a plan with an empty name, so the smallest
/// amount counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaInputs {
    /// The plan's name in the definition. An unknown plan counts as the smallest.
    pub plan: String,
    /// Devices under the connection. The provider may know of more; counting fewer is the safe side.
    pub devices: u32,
}
