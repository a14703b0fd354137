//! Owners who have gone to a cloud to allow a connection: each comes back with a state that is good once, and not for
//! long. Of the state only a hash is kept.

use super::TokenError;
use crate::postgres::{Pool, PostgresError};
use crate::seal::{SealContext, Sealer};
use crate::words::{ConnectionId, TenantId, UnixMs};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// Somebody who has gone, and is to come back.
#[derive(Debug)]
pub struct Pending {
    /// Whose connection.
    pub tenant: TenantId,
    /// Which.
    pub connection: ConnectionId,
    /// What proves the way back, where the provider takes such.
    pub verifier: Option<SecretString>,
    /// Where the way back leads.
    pub redirect_url: String,
}

/// Notes that somebody goes, in the place of all who went for the same connection before.
pub async fn wait_for(
    pool: &Pool,
    sealer: &Sealer,
    state: &SecretString,
    pending: &Pending,
    expires_at: UnixMs,
) -> Result<(), TokenError> {
    let plain = (pending.verifier.as_ref().map(ExposeSecret::expose_secret), &pending.redirect_url);
    // Two texts always write.
    let text = serde_json::to_string(&plain).unwrap_or_default();
    let sealed = sealer.seal(SealContext::Authorisation(pending.connection), &text.into())?;
    let hash = hash(state);
    sqlx::query!(
        "WITH before AS (DELETE FROM authorisations WHERE tenant_id = $2 AND connection_id = $3)
         INSERT INTO authorisations (state_hash, tenant_id, connection_id, sealed, expires_at)
         VALUES ($1, $2, $3, $4, $5)",
        hash.as_slice(),
        pending.tenant.0,
        pending.connection.0,
        sealed,
        expires_at.to_datetime()
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("note that an owner is asked"))?;
    Ok(())
}

/// Whoever comes back with this state, once.
pub async fn redeem(
    pool: &Pool,
    sealer: &Sealer,
    state: &SecretString,
    now: UnixMs,
) -> Result<Option<Pending>, TokenError> {
    let hash = hash(state);
    let row = sqlx::query!(
        "DELETE FROM authorisations WHERE state_hash = $1 RETURNING tenant_id, connection_id, sealed, expires_at",
        hash.as_slice()
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("find who comes back"))?;
    let Some(row) = row.filter(|row| now < UnixMs::from(row.expires_at)) else { return Ok(None) };
    let connection = ConnectionId(row.connection_id);
    let text = sealer.open(SealContext::Authorisation(connection), &row.sealed)?;
    let (verifier, redirect_url): (Option<SecretString>, String) =
        serde_json::from_str(text.expose_secret()).unwrap_or_default();
    Ok(Some(Pending { tenant: TenantId(row.tenant_id), connection, verifier, redirect_url }))
}

/// Forgets who did not come back in time: what is sealed of them is of no use.
pub async fn forget_late(pool: &Pool, now: UnixMs) -> Result<u64, PostgresError> {
    sqlx::query!("DELETE FROM authorisations WHERE expires_at <= $1", now.to_datetime())
        .execute(pool)
        .await
        .map(|done| done.rows_affected())
        .map_err(PostgresError::on("forget who did not come back"))
}

/// It is random, so that there is nothing to stretch.
fn hash(state: &SecretString) -> [u8; 32] {
    Sha256::digest(state.expose_secret().as_bytes()).into()
}
