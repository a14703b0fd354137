//! Requests that named themselves, so that a repetition is served once.

use crate::postgres::{Pool, PostgresError};
use crate::words::{TenantId, UnixMs};
use serde_json::Value;
use std::time::Duration;

/// A request that nobody has answered for so long is served again: its process died.
const SERVED_WITHIN: Duration = Duration::from_secs(330);

/// Whose request it is, and what its client calls it.
#[derive(Debug, Clone)]
pub struct Name {
    /// The tenant.
    pub tenant: TenantId,
    /// The API key's number.
    pub key: i64,
    /// The `Idempotency-Key`.
    pub name: String,
}

/// What a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names and values of headers.
    pub headers: Value,
    /// The body.
    pub body: Vec<u8>,
}

/// Whether to serve a request.
#[derive(Debug)]
pub enum Claimed {
    /// It is new: serve it, and [`answer`] or [`release`] it by this number.
    Yes(i64),
    /// It was served already.
    Answered(Answer),
    /// It is being served.
    UnderWay,
    /// Another request has this name.
    Other,
}

/// Claims a request. `request` is a keyed hash of what it asks.
pub async fn claim(pool: &Pool, name: &Name, request: &[u8]) -> Result<Claimed, PostgresError> {
    let row = sqlx::query!(
        r#"WITH claimed AS (
               INSERT INTO idempotent_requests AS r (tenant_id, key_id, name, request) VALUES ($1, $2, $3, $4)
               ON CONFLICT (tenant_id, key_id, name) DO UPDATE SET
                   claim = DEFAULT, claimed_at = now()
               WHERE r.status IS NULL AND r.request = $4 AND r.claimed_at < now() - $5 * interval '1 second'
               RETURNING claim)
           SELECT c.claim AS "claim?", r.request AS "request?", r.status, r.headers, r.body
           FROM (SELECT 1) one LEFT JOIN claimed c ON true
           LEFT JOIN idempotent_requests r ON c.claim IS NULL AND r.tenant_id = $1 AND r.key_id = $2 AND r.name = $3"#,
        name.tenant.0,
        name.key,
        name.name,
        request,
        SERVED_WITHIN.as_secs_f64()
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("note the request"))?;
    Ok(match (row.claim, row.request, row.status) {
        (Some(claim), ..) => Claimed::Yes(claim),
        (None, Some(stored), _) if stored != request => Claimed::Other,
        (None, Some(_), Some(status)) => Claimed::Answered(Answer {
            status: u16::try_from(status).unwrap_or_default(),
            headers: row.headers.unwrap_or_default(),
            body: row.body.unwrap_or_default(),
        }),
        // Without a row, another claimed it after this statement began.
        (None, ..) => Claimed::UnderWay,
    })
}

/// Keeps the answer of a claimed request for its repetitions.
pub async fn answer(pool: &Pool, name: &Name, claim: i64, answer: &Answer) -> Result<(), PostgresError> {
    sqlx::query!(
        "UPDATE idempotent_requests SET status = $5, headers = $6, body = $7
         WHERE tenant_id = $1 AND key_id = $2 AND name = $3 AND claim = $4",
        name.tenant.0,
        name.key,
        name.name,
        claim,
        i16::try_from(answer.status).unwrap_or_default(),
        answer.headers,
        answer.body
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("keep the answer"))
}

/// Gives a claimed request up: it changed nothing, and its repetition is served anew.
pub async fn release(pool: &Pool, name: &Name, claim: i64) -> Result<(), PostgresError> {
    sqlx::query!(
        "DELETE FROM idempotent_requests WHERE tenant_id = $1 AND key_id = $2 AND name = $3 AND claim = $4",
        name.tenant.0,
        name.key,
        name.name,
        claim
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("give the request up"))
}

/// Forgets requests of before an instant.
pub async fn forget(pool: &Pool, before: UnixMs) -> Result<(), PostgresError> {
    const BATCH: u64 = 10_000;
    let delete = "-- All tenants: whoever asked has long had an answer.
                  DELETE FROM idempotent_requests WHERE (tenant_id, key_id, name) IN (
                      SELECT tenant_id, key_id, name FROM idempotent_requests WHERE claimed_at < $1 LIMIT 10000)";
    loop {
        let deleted = sqlx::query(delete).bind(before.to_datetime()).execute(pool).await;
        if deleted.map_err(PostgresError::on("forget old requests"))?.rows_affected() < BATCH {
            return Ok(());
        }
    }
}
