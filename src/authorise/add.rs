//! Adds connections and replaces their secrets, once both are what the provider's definition asks for.

use super::AuthoriseError;
use crate::app::App;
use crate::preference::connections::{self, ConnectionRef, NewConnection};
use crate::preference::{refusals, secrets};
use crate::provider::LookupError;
use crate::words::{ConnectionId, Secrets};

/// The reason shown for a connection that waits for its owner.
const NOT_YET: &str = "not authorised yet: its owner must do that";

/// A connection that was added.
#[derive(Debug, Clone, Copy)]
pub struct Added {
    /// Its number.
    pub id: ConnectionId,
    /// Whether its owner has still to allow it.
    pub awaits_owner: bool,
}

/// Adds a connection that has all that its provider's definition asks for, and nothing else; unless its tenant has
/// `max` already.
pub async fn add(app: &App, new: NewConnection, max: Option<u32>) -> Result<Added, AuthoriseError> {
    let provider = app.registry.find(new.provider.as_str())?;
    provider.check_account(&new.params, &new.secrets, &app.settings.provider.of(&provider.name))?;
    let id = connections::add_within(&app.pool, &app.sealer, new, max).await?;
    let awaits_owner = provider.definition.auth.get_ref().needs_owner();
    if awaits_owner {
        refusals::wait_for_owner(&app.pool, id, NOT_YET).await?;
    }
    Ok(Added { id, awaits_owner })
}

/// Replaces the given secrets of a connection. If its owner must authorise it, that has to be done again.
pub async fn renew_secrets(
    app: &App,
    tenant: crate::words::TenantId,
    found: &ConnectionRef,
    changed: Secrets,
) -> Result<Added, AuthoriseError> {
    let provider = app.registry.find(&found.provider)?;
    if changed.is_empty() {
        provider.check_secrets(&changed)?;
        return Err(LookupError::NoSecretGiven { provider: provider.name.to_string() }.into());
    }
    let (id, awaits_owner) = (found.id, provider.definition.auth.get_ref().needs_owner());
    let judge = |secrets: &Secrets| provider.check_secrets(secrets);
    let awaits = awaits_owner.then_some(NOT_YET);
    secrets::change(&app.pool, &app.sealer, (tenant, id), changed, awaits, judge).await??;
    Ok(Added { id, awaits_owner })
}
