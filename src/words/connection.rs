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
    /// Its credentials, by the names in the definition.
    pub secrets: Secrets,
    /// The current token, where the provider uses a login or OAuth 2.0.
    pub token: Option<Token>,
}
