//! What is held at providers, with the names of the connections.

use super::ExplainError;
use crate::app::App;
use crate::preference::connections::{self, ConnectionName};
use crate::provider::Provider;
use crate::take::{ActiveHold, Taker};
use crate::words::{ConnectionId, ProviderName};
use std::collections::HashMap;
use std::sync::Arc;

/// A hold, and whose calls it stops.
#[derive(Debug, Clone)]
pub struct NamedHold {
    /// The provider.
    pub provider: ProviderName,
    /// The hold.
    pub hold: ActiveHold,
    /// Its connection; none if it stops the whole app, or if the connection was deleted.
    pub connection: Option<ConnectionName>,
}

/// The holds of these providers that are not over.
pub async fn holds(
    app: &App,
    providers: impl IntoIterator<Item = &Arc<Provider>>,
) -> Result<Vec<NamedHold>, ExplainError> {
    let mut found = Vec::new();
    for provider in providers {
        let taker = Taker::new(app.redis.clone(), provider, &app.taker_settings());
        found.extend(taker.holds(None).await?.into_iter().map(|hold| (provider.name.clone(), hold)));
    }
    let ids: Vec<_> = found.iter().filter_map(|(_, hold)| hold.holder.connection()).map(|id| id.0).collect();
    let names = connections::names(&app.pool, &ids).await?;
    let names: HashMap<ConnectionId, ConnectionName> =
        names.into_iter().map(|name| (name.id, name)).collect();
    let named = found.into_iter().map(|(provider, hold)| {
        let connection = hold.holder.connection().and_then(|id| names.get(&id).cloned());
        NamedHold { provider, hold, connection }
    });
    Ok(named.collect())
}
