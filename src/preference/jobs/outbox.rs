//! The outbox: jobs whose changes the schedule does not have yet.

use crate::postgres::{Pool, PostgresError};
use crate::words::JobId;

/// The NOTIFY channel that announces new outbox rows.
pub const CHANNEL: &str = "paceline_outbox";

/// An outbox row.
#[derive(Debug, Clone)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// The name of the job's provider.
    pub provider: String,
    /// The job.
    pub job: i64,
}

/// The oldest outbox rows.
pub async fn read(pool: &Pool, limit: i64) -> Result<Vec<Note>, PostgresError> {
    sqlx::query_as!(
        Note,
        "SELECT outbox_id AS id, provider, job_id AS job FROM outbox ORDER BY outbox_id LIMIT $1",
        limit
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the outbox"))
}

/// Adds outbox rows for these jobs and notifies the channel.
pub async fn note(pool: &Pool, jobs: &[i64]) -> Result<(), PostgresError> {
    sqlx::query!(
        "WITH noted AS (
             INSERT INTO outbox (provider, job_id)
             SELECT provider, job_id FROM jobs WHERE job_id = ANY($1) RETURNING 1)
         SELECT pg_notify('paceline_outbox', '')::text AS told, count(*) FROM noted",
        jobs
    )
    .fetch_one(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("note jobs in the outbox"))
}

/// Deletes outbox rows that were put into the schedule. Another process may have deleted them already.
pub async fn forget(pool: &Pool, ids: &[i64]) -> Result<(), PostgresError> {
    sqlx::query!("DELETE FROM outbox WHERE outbox_id = ANY($1)", ids)
        .execute(pool)
        .await
        .map(drop)
        .map_err(PostgresError::on("clear the outbox"))
}

/// The numbers of a job's outbox rows.
pub async fn of_job(pool: &Pool, job: JobId) -> Result<Vec<i64>, PostgresError> {
    sqlx::query_scalar!("SELECT outbox_id FROM outbox WHERE job_id = $1", job.0)
        .fetch_all(pool)
        .await
        .map_err(PostgresError::on("read the outbox"))
}

/// Those of these jobs that have outbox rows.
pub async fn pending(pool: &Pool, jobs: &[i64]) -> Result<Vec<i64>, PostgresError> {
    sqlx::query_scalar!("SELECT DISTINCT job_id FROM outbox WHERE job_id = ANY($1)", jobs)
        .fetch_all(pool)
        .await
        .map_err(PostgresError::on("read the outbox"))
}
