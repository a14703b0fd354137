//! The table of tokens.
//!
//! A process starts a renewal by writing its number into the row, for a bounded time: no lock or transaction is held
//! while the provider is asked. The new token only overwrites the token that the renewal started with, so that a slow
//! renewal never undoes a later one.

use crate::postgres::{Pool, PostgresError};
use crate::seal::{SealError, Sealer};
use crate::words::{Connection, Granted, JobId, Token, UnixMs};

/// Why a token could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Sealing.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

impl TokenError {
    /// Whether the database could not be reached.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.is_outage())
    }
}

/// What came of starting a renewal.
#[derive(Debug)]
pub enum StartOutcome {
    /// This process does it.
    Mine(Renewal),
    /// Another did it meanwhile.
    Done(Token),
    /// Not before this instant, and why: another does it, or the last request was too recent, or it failed.
    NotYet(UnixMs, String),
}

/// A renewal that this process has started.
#[derive(Debug)]
pub struct Renewal {
    number: i64,
    generation: i64,
    /// The token that it renews; none: it is the first.
    pub from: Option<Token>,
    /// Failures in a row before it.
    pub failures: u32,
}

/// The wait for another process's renewal, ms. It usually takes a few hundred.
const OTHERS_RENEWAL_MS: i64 = 500;

/// Starts a renewal of a connection's token, unless it is no longer due, under way, or too soon.
///
/// `known`: the generation that is to be renewed, none for the first; `timeout_ms`: how long it may take;
/// `min_interval_ms`: the least time from one renewal to the next.
pub async fn begin(
    pool: &Pool,
    sealer: &Sealer,
    connection: &Connection,
    known: Option<i64>,
    now: UnixMs,
    (timeout_ms, min_interval_ms): (i64, i64),
) -> Result<StartOutcome, TokenError> {
    let failed = || PostgresError::on("begin the renewal of a token");
    let (tenant, id) = (connection.tenant.0, connection.id.0);
    sqlx::query!(
        "INSERT INTO tokens (tenant_id, connection_id)
         SELECT tenant_id, connection_id FROM connections WHERE tenant_id = $1 AND connection_id = $2
         ON CONFLICT DO NOTHING",
        tenant,
        id
    )
    .execute(pool)
    .await
    .map_err(failed())?;
    let (at, earliest, until) = (
        now.to_datetime(),
        now.plus_ms(-min_interval_ms).to_datetime(),
        now.plus_ms(timeout_ms).to_datetime(),
    );
    let mine = sqlx::query!(
        // Not with secrets that were replaced since they were read: the cloud's answer would be about those.
        "WITH current AS (
             SELECT tenant_id, connection_id FROM connections
             WHERE tenant_id = $1 AND connection_id = $2 AND secrets_version = $7 FOR SHARE)
         UPDATE tokens t SET renewal = renewal + 1, renewing_until = $5, asked_at = $3 FROM current c
         WHERE t.tenant_id = c.tenant_id AND t.connection_id = c.connection_id
           AND (generation = $6 OR $6 IS NULL AND sealed IS NULL)
           AND (renewing_until IS NULL OR renewing_until <= $3)
           AND (asked_at IS NULL OR asked_at <= $4) AND (retry_at IS NULL OR retry_at <= $3)
         RETURNING renewal, sealed, generation, renew_at, expires_at, failures",
        tenant,
        id,
        at,
        earliest,
        until,
        known,
        connection.secrets_version
    )
    .fetch_optional(pool)
    .await
    .map_err(failed())?;
    if let Some(row) = mine {
        let kept = Kept { generation: row.generation, renew_at: row.renew_at, expires_at: row.expires_at };
        let from = row.sealed.map(|sealed| kept.open(sealer, connection, &sealed)).transpose()?;
        let (generation, failures) = (row.generation, row.failures.unsigned_abs());
        return Ok(StartOutcome::Mine(Renewal { number: row.renewal, generation, from, failures }));
    }
    not_mine(pool, sealer, connection, known, now, min_interval_ms).await
}

/// Why this process does not do it.
async fn not_mine(
    pool: &Pool,
    sealer: &Sealer,
    connection: &Connection,
    known: Option<i64>,
    now: UnixMs,
    min_interval_ms: i64,
) -> Result<StartOutcome, TokenError> {
    let row = sqlx::query!(
        "SELECT sealed, generation, renew_at, expires_at, renewing_until, asked_at, retry_at, failure
         FROM tokens WHERE tenant_id = $1 AND connection_id = $2",
        connection.tenant.0,
        connection.id.0
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("read a token"))?;
    let soon = StartOutcome::NotYet(now.plus_ms(OTHERS_RENEWAL_MS), "its token is being renewed".to_owned());
    let Some(row) = row else { return Ok(soon) };
    if let Some(sealed) = row.sealed.filter(|_| known != Some(row.generation)) {
        let kept = Kept { generation: row.generation, renew_at: row.renew_at, expires_at: row.expires_at };
        return Ok(StartOutcome::Done(kept.open(sealer, connection, &sealed)?));
    }
    let [renewing, asked, retry] =
        [row.renewing_until, row.asked_at, row.retry_at].map(|at| at.map(UnixMs::from));
    if renewing.is_some_and(|until| now < until) {
        return Ok(soon);
    }
    let earliest = asked.map(|at| at.plus_ms(min_interval_ms));
    let until = earliest.into_iter().chain(retry).max().filter(|until| now < *until);
    Ok(until.map_or(soon, |until| {
        let failure = row.failure.map(|failure| format!(": {failure}")).unwrap_or_default();
        StartOutcome::NotYet(until, format!("its token cannot be renewed yet{failure}"))
    }))
}

/// Writes what a renewal brought, before anybody uses it. None: another wrote a later one meanwhile, which counts.
pub async fn keep(
    pool: &Pool,
    sealer: &Sealer,
    connection: &Connection,
    renewal: &Renewal,
    granted: &Granted,
    asked_at: UnixMs,
) -> Result<Option<Token>, TokenError> {
    let known = renewal.generation;
    let refresh = renewal.from.as_ref().and_then(|token| token.refresh.as_ref());
    let token = Token::after(granted, asked_at, known, refresh);
    let sealed = sealer.seal_token(connection.id, &token)?;
    let written = sqlx::query!(
        "UPDATE tokens SET sealed = $4, generation = generation + 1, renew_at = $5, expires_at = $6,
                renewing_until = CASE WHEN renewal = $7 THEN NULL ELSE renewing_until END,
                failures = 0, retry_at = NULL, failure = NULL
         WHERE tenant_id = $1 AND connection_id = $2 AND generation = $3",
        connection.tenant.0,
        connection.id.0,
        known,
        sealed,
        token.renew_at.map(UnixMs::to_datetime),
        token.expires_at.map(UnixMs::to_datetime),
        renewal.number
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("keep a token"))?;
    Ok((written.rows_affected() == 1).then_some(token))
}

/// Notes that a renewal failed and when to try again; nothing if another wrote a token or started a renewal meanwhile.
pub async fn fail(
    pool: &Pool,
    connection: &Connection,
    renewal: &Renewal,
    reason: &str,
    retry_at: UnixMs,
) -> Result<(), TokenError> {
    sqlx::query!(
        "UPDATE tokens SET renewing_until = NULL, failures = failures + 1, failure = $5, retry_at = $6
         WHERE tenant_id = $1 AND connection_id = $2 AND renewal = $3 AND generation = $4",
        connection.tenant.0,
        connection.id.0,
        renewal.number,
        renewal.generation,
        reason,
        retry_at.to_datetime()
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("note that a token was not renewed"))?;
    Ok(())
}

/// Postpones a renewal that was started but not requested, because no quota let the request through. It is no failure,
/// and the least interval begins with the request itself.
pub async fn put_off(
    pool: &Pool,
    connection: &Connection,
    renewal: &Renewal,
    reason: &str,
    until: UnixMs,
) -> Result<(), TokenError> {
    sqlx::query!(
        "UPDATE tokens SET renewing_until = NULL, asked_at = NULL, failure = $5, retry_at = $6
         WHERE tenant_id = $1 AND connection_id = $2 AND renewal = $3 AND generation = $4",
        connection.tenant.0,
        connection.id.0,
        renewal.number,
        renewal.generation,
        reason,
        until.to_datetime()
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("put off the renewal of a token"))?;
    Ok(())
}

/// Notes that a renewal was refused for good and marks the connection, in one: what a stale renewal says of an older
/// token says nothing of the one that another wrote since.
///
/// Returns the jobs that must leave the schedule, with their versions. None: another wrote a token or began a renewal
/// meanwhile, which counts.
pub async fn give_up(
    pool: &Pool,
    connection: &Connection,
    renewal: &Renewal,
    reason: &str,
    retry_at: UnixMs,
) -> Result<Option<Vec<(JobId, i64)>>, TokenError> {
    // The connection is locked before its token, as where its owner allows it. New secrets and a new grant raise the
    // token's generation, so no clock need tell whether the refusal is older than they are.
    let rows = sqlx::query!(
        r#"WITH locked AS (
             SELECT tenant_id, connection_id FROM connections WHERE tenant_id = $1 AND connection_id = $2
             FOR NO KEY UPDATE),
         failed AS (
             UPDATE tokens t SET renewing_until = NULL, failures = failures + 1, failure = $5, retry_at = $6
             FROM locked l
             WHERE t.tenant_id = l.tenant_id AND t.connection_id = l.connection_id
               AND t.renewal = $3 AND t.generation = $4
             RETURNING t.tenant_id, t.connection_id),
         marked AS (
             UPDATE connections c SET state = 'needs_reauth', state_reason = $5, state_at = now()
             FROM failed f
             WHERE c.tenant_id = f.tenant_id AND c.connection_id = f.connection_id
               AND c.state = 'active'
             RETURNING c.tenant_id, c.connection_id)
         SELECT j.job_id AS "job_id?", j.version AS "version?" FROM failed
         LEFT JOIN marked m USING (tenant_id, connection_id)
         LEFT JOIN devices d ON d.tenant_id = m.tenant_id AND d.connection_id = m.connection_id
         LEFT JOIN jobs j ON j.tenant_id = d.tenant_id AND j.device_id = d.device_id
                          AND NOT is_probe(d.tenant_id, d.connection_id, j.job_id)"#,
        connection.tenant.0,
        connection.id.0,
        renewal.number,
        renewal.generation,
        reason,
        retry_at.to_datetime()
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("mark the connection"))?;
    let jobs = rows.iter().filter_map(|row| Some((JobId(row.job_id?), row.version?)));
    Ok((!rows.is_empty()).then(|| jobs.collect()))
}

/// A provider refused a call that carried this token: it is not used again, whatever its lifetime was said to be.
pub async fn expire(
    pool: &Pool,
    connection: &Connection,
    generation: i64,
    now: UnixMs,
) -> Result<(), TokenError> {
    sqlx::query!(
        "UPDATE tokens SET renew_at = $4, expires_at = $4
         WHERE tenant_id = $1 AND connection_id = $2 AND generation = $3
           AND (expires_at IS NULL OR expires_at > $4)",
        connection.tenant.0,
        connection.id.0,
        generation,
        now.to_datetime()
    )
    .execute(pool)
    .await
    .map_err(PostgresError::on("give up a token"))?;
    Ok(())
}

/// What stands beside a sealed token.
struct Kept {
    generation: i64,
    renew_at: Option<chrono::DateTime<chrono::Utc>>,
    expires_at: Option<chrono::DateTime<chrono::Utc>>,
}

impl Kept {
    fn open(self, sealer: &Sealer, connection: &Connection, sealed: &[u8]) -> Result<Token, SealError> {
        let (access, refresh) = sealer.open_token(connection.id, sealed)?;
        let [renew_at, expires_at] = [self.renew_at, self.expires_at].map(|at| at.map(UnixMs::from));
        Ok(Token { access, refresh, generation: self.generation, renew_at, expires_at })
    }
}
