//! What stands before the provider's own ids, where these are unique only within a home.

use crate::adhoc::AdHocError;
use crate::app::App;
use crate::preference::connections;
use crate::preference::devices::TenantConnection;
use crate::provider::Provider;
use std::sync::Arc;

/// The prefix of the ids of a connection's devices; empty for none, and while the account's home is not known yet.
pub async fn id_prefix(
    app: &App,
    provider: &Arc<Provider>,
    account: &TenantConnection,
) -> Result<String, AdHocError> {
    if provider.definition.id_scope.is_none() {
        return Ok(String::new());
    }
    let varies = provider.has_quota_inputs();
    let opened = connections::open(&app.pool, &app.sealer, &[account.connection.0], varies).await?;
    let own = opened.into_iter().find(|connection| connection.tenant == account.tenant);
    let fetcher = &app.client(provider)?.fetcher;
    Ok(own.map(|connection| fetcher.id_prefix(&connection)).unwrap_or_default())
}
