//! A tenant's account at a provider, with what is needed to speak for it.

use super::{ConnectionId, ProviderName, Secrets, TenantId, Token};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// A connection, its secrets open. Held only while a call is made.
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
    /// What its cloud told of the account that calls need, by the names that the definition gives.
    pub bootstrap: BTreeMap<String, String>,
    /// What was asked for it; none: it was not, since its secrets were given.
    pub bootstrap_of: Option<String>,
    /// How many devices are under it; 0 where no limit asks for it.
    pub devices: u32,
    /// When its state last changed or its secrets were given, by Postgres: what was asked with others is told by it.
    pub state_at: DateTime<Utc>,
    /// Its credentials, by the names that the provider's definition gives them.
    pub secrets: Secrets,
    /// What a login or a grant has brought, where the provider asks for such.
    pub token: Option<Token>,
}
