//! The outbox: jobs whose changes the schedule does not have yet.

use crate::postgres::{Pool, PostgresError};
use crate::words::{ConnectionId, DeviceId, TenantId};

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
    /// The job's device, if it was removed.
    pub removed: Option<RemovedDevice>,
}

/// A device that Postgres no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RemovedDevice {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its connection, which may be removed, too.
    pub connection: ConnectionId,
    /// Its number.
    pub device: DeviceId,
}

/// The oldest outbox rows.
pub async fn read(pool: &Pool, limit: i64) -> Result<Vec<Note>, PostgresError> {
    let rows = sqlx::query!(
        "SELECT outbox_id, provider, job_id, removed_tenant, removed_connection, removed_device
         FROM outbox ORDER BY outbox_id LIMIT $1",
        limit
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the outbox"))?;
    let note = rows.into_iter().map(|row| {
        let removed = row.removed_tenant.zip(row.removed_connection).zip(row.removed_device);
        let removed = removed.map(|((tenant, connection), device)| RemovedDevice {
            tenant: TenantId(tenant),
            connection: ConnectionId(connection),
            device: DeviceId(device),
        });
        Note { id: row.outbox_id, provider: row.provider, job: row.job_id, removed }
    });
    Ok(note.collect())
}

/// Adds outbox rows for these jobs and notifies the channel.
pub async fn note(pool: &Pool, jobs: &[i64]) -> Result<(), PostgresError> {
    sqlx::query!(
        "-- All tenants: the check finds jobs of any.
         WITH noted AS (
             INSERT INTO outbox (provider, job_id)
             SELECT provider, job_id FROM jobs WHERE job_id = ANY($1) RETURNING 1)
         SELECT pg_notify('paceline_outbox', '')::text AS notified, count(*) FROM noted",
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

/// The numbers of these jobs' outbox rows, without those of removals, which also name a device.
pub async fn of_jobs(pool: &Pool, jobs: &[i64]) -> Result<Vec<i64>, PostgresError> {
    sqlx::query_scalar!(
        "SELECT outbox_id FROM outbox WHERE job_id = ANY($1) AND removed_device IS NULL",
        jobs
    )
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
