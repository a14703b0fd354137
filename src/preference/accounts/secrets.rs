//! Changing some of a connection's secrets.

use super::connections::ConnectionError;
use super::{activation, refusals};
use crate::postgres::{Pool, PostgresError};
use crate::seal::Sealer;
use crate::words::{ConnectionId, Secrets, TenantId};

/// Changes these secrets of a connection, leaves the others as they are, and activates it; or, with `awaits`, marks it
/// as waiting for its owner, for this reason.
///
/// `judge` checks the resulting set of secrets; if it refuses, nothing is changed. Concurrent changes are serialised
/// by the row's lock, so that none is lost.
pub async fn change<E>(
    pool: &Pool,
    sealer: &Sealer,
    (tenant, id): (TenantId, ConnectionId),
    changed: Secrets,
    awaits: Option<&str>,
    judge: impl FnOnce(&Secrets) -> Result<(), E>,
) -> Result<Result<(), E>, ConnectionError> {
    let failed = || PostgresError::on("change the connection's secrets");
    let mut tx = pool.begin().await.map_err(failed())?;
    let sealed = sqlx::query_scalar!(
        "SELECT secret_sealed FROM connections WHERE tenant_id = $1 AND connection_id = $2 FOR NO KEY UPDATE",
        tenant.0,
        id.0
    )
    .fetch_optional(&mut tx)
    .await
    .map_err(failed())?;
    let sealed = sealed.ok_or_else(|| ConnectionError::Unknown(id.to_string()))?;
    // Secrets that can no longer be opened do not prevent their replacement.
    let opened = sealed.and_then(|sealed| sealer.open_secrets(id, &sealed).ok());
    let mut secrets = opened.unwrap_or_default();
    secrets.extend(changed);
    if let Err(refused) = judge(&secrets) {
        return Ok(Err(refused));
    }
    activation::reauthorise(&mut tx, sealer, tenant, id, &secrets).await?;
    if let Some(reason) = awaits {
        refusals::wait_for_owner(&mut tx, id, reason).await?;
    }
    tx.commit().await.map_err(failed())?;
    Ok(Ok(()))
}
