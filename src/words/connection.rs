//! A tenant's account at a provider, with what is needed to speak for it.

use super::{ConnectionId, ProviderName, TenantId};
use secrecy::SecretString;
use std::collections::BTreeMap;

/// A connection, its secret open. Held only while a call is made.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Itself.
    pub id: ConnectionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Where.
    pub provider: ProviderName,
    /// What the provider's templates need and nobody need hide.
    pub params: BTreeMap<String, String>,
    /// The credential; absent where the provider asks for none.
    pub secret: Option<SecretString>,
}
