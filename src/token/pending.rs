//! Pending authorisations: an owner was sent to a provider and comes back with a `state`, which is good once and
//! expires. Only its hash is stored.

use super::TokenError;
use crate::postgres::{Pool, PostgresError};
use crate::seal::{SealContext, Sealer};
use crate::words::{ConnectionId, TenantId, UnixMs};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// An authorisation that waits for its callback.
#[derive(Debug)]
pub struct Pending {
    /// Whose connection.
    pub tenant: TenantId,
    /// Which connection.
    pub connection: ConnectionId,
    /// The PKCE verifier, where the provider supports PKCE.
    pub verifier: Option<SecretString>,
    /// The callback's address.
    pub redirect_url: String,
    /// The provider's address, to which the owner is led.
    pub url: String,
}

/// Stores an authorisation. It replaces an earlier one of the same connection.
pub async fn wait_for(
    pool: &Pool,
    sealer: &Sealer,
    state: &SecretString,
    pending: &Pending,
    expires_at: UnixMs,
) -> Result<(), TokenError> {
    let verifier = pending.verifier.as_ref().map(ExposeSecret::expose_secret);
    let plain = (verifier, &pending.redirect_url, &pending.url);
    // Texts always write.
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
    .map_err(PostgresError::on("store a pending authorisation"))?;
    Ok(())
}

/// Takes the authorisation of this state: once, and only before it expires.
pub async fn redeem(
    pool: &Pool,
    sealer: &Sealer,
    state: &SecretString,
    now: UnixMs,
) -> Result<Option<Pending>, TokenError> {
    let hash = hash(state);
    let row = sqlx::query!(
        "-- All tenants: a redirect says nothing but the state.
         DELETE FROM authorisations WHERE state_hash = $1 RETURNING tenant_id, connection_id, sealed, expires_at",
        hash.as_slice()
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("find a pending authorisation"))?;
    let Some(row) = row.filter(|row| now < UnixMs::from(row.expires_at)) else { return Ok(None) };
    opened(sealer, (TenantId(row.tenant_id), ConnectionId(row.connection_id)), &row.sealed).map(Some)
}

/// The authorisation of this state, which goes on waiting; none if it has expired.
pub async fn look_at(
    pool: &Pool,
    sealer: &Sealer,
    state: &SecretString,
    now: UnixMs,
) -> Result<Option<Pending>, TokenError> {
    let hash = hash(state);
    let row = sqlx::query!(
        "-- All tenants: a browser says nothing but the state.
         SELECT tenant_id, connection_id, sealed, expires_at FROM authorisations WHERE state_hash = $1",
        hash.as_slice()
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("find a pending authorisation"))?;
    let Some(row) = row.filter(|row| now < UnixMs::from(row.expires_at)) else { return Ok(None) };
    opened(sealer, (TenantId(row.tenant_id), ConnectionId(row.connection_id)), &row.sealed).map(Some)
}

fn opened(
    sealer: &Sealer,
    (tenant, connection): (TenantId, ConnectionId),
    sealed: &[u8],
) -> Result<Pending, TokenError> {
    let text = sealer.open(SealContext::Authorisation(connection), sealed)?;
    let (verifier, redirect_url, url): (Option<SecretString>, String, String) =
        serde_json::from_str(text.expose_secret()).unwrap_or_default();
    Ok(Pending { tenant, connection, verifier, redirect_url, url })
}

/// Deletes authorisations whose callback did not come in time. Returns how many.
pub async fn delete_expired(pool: &Pool, now: UnixMs) -> Result<u64, PostgresError> {
    sqlx::query!(
        "-- All tenants: what has expired.
                  DELETE FROM authorisations WHERE expires_at <= $1",
        now.to_datetime()
    )
    .execute(pool)
    .await
    .map(|done| done.rows_affected())
    .map_err(PostgresError::on("delete expired authorisations"))
}

/// The state is random, so a plain hash is enough.
fn hash(state: &SecretString) -> [u8; 32] {
    Sha256::digest(state.expose_secret().as_bytes()).into()
}
