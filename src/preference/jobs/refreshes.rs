//! Refreshes that were asked for: of which jobs, and what came of them.

use crate::postgres::{Pool, PostgresError};
use crate::words::{
    ConnectionState, DeviceId, JobId, JobState, ProviderName, ResourceName, TenantId, UnixMs,
};
use chrono::{DateTime, Utc};

/// A refresh that was asked for.
#[derive(Debug, Clone)]
pub struct StoredRefresh {
    /// When.
    pub asked_at: UnixMs,
    /// Its jobs, but for those that were removed since.
    pub jobs: Vec<RefreshedJob>,
}

/// One of its jobs, and what is recorded of it.
#[derive(Debug, Clone)]
pub struct RefreshedJob {
    /// The job.
    pub job: JobId,
    /// Its device.
    pub device: DeviceId,
    /// Its resource.
    pub resource: ResourceName,
    /// Its provider.
    pub provider: ProviderName,
    /// Whether it is scheduled.
    pub state: JobState,
    /// Its connection's state.
    pub connection_state: ConnectionState,
    /// When a good answer last came.
    pub fetched_at: Option<UnixMs>,
    /// Whether it was answered since it was asked for.
    pub answered: bool,
    /// What went wrong since then, if nothing good came after it: `<outcome>: <detail>`.
    pub error: Option<String>,
}

/// How a job stands before it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// The job.
    pub job: JobId,
    /// The fence of its latest reading; 0: it has none.
    fence: i64,
    error_at: Option<DateTime<Utc>>,
}

/// How these jobs of a tenant stand.
pub async fn standing(pool: &Pool, tenant: TenantId, jobs: &[JobId]) -> Result<Vec<Standing>, PostgresError> {
    let rows = sqlx::query!(
        r#"SELECT j.job_id, coalesce(l.fence, 0) AS "fence!", j.last_error_at
           FROM jobs j LEFT JOIN latest l USING (tenant_id, device_id, resource)
           WHERE j.tenant_id = $1 AND j.job_id = ANY($2)"#,
        tenant.0,
        &jobs.iter().map(|job| job.0).collect::<Vec<_>>()
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read how the jobs stand"))?;
    let mut standing = Vec::with_capacity(rows.len());
    for row in rows {
        standing.push(Standing { job: JobId(row.job_id), fence: row.fence, error_at: row.last_error_at });
    }
    Ok(standing)
}

/// A tenant's refreshes beyond so many are forgotten, the oldest first.
const KEPT_PER_TENANT: i64 = 1_000;

/// Notes that these jobs of a tenant were asked for. Returns the refresh's number.
pub async fn add(
    pool: &Pool,
    tenant: TenantId,
    asked_at: UnixMs,
    jobs: &[Standing],
) -> Result<i64, PostgresError> {
    sqlx::query_scalar!(
        "WITH forgotten AS (
             DELETE FROM refreshes WHERE tenant_id = $1 AND refresh_id <= (
                 SELECT refresh_id FROM refreshes WHERE tenant_id = $1 ORDER BY refresh_id DESC OFFSET $6 LIMIT 1))
         INSERT INTO refreshes (tenant_id, asked_at, jobs, fences, errors_at)
         VALUES ($1, $2, $3, $4, $5) RETURNING refresh_id",
        tenant.0,
        asked_at.to_datetime(),
        &jobs.iter().map(|it| it.job.0).collect::<Vec<_>>(),
        &jobs.iter().map(|it| it.fence).collect::<Vec<_>>(),
        &jobs.iter().map(|it| it.error_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        KEPT_PER_TENANT - 1
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("note the refresh"))
}

/// A tenant's refresh; none if there is none of this number, or not any more.
pub async fn find(pool: &Pool, tenant: TenantId, id: i64) -> Result<Option<StoredRefresh>, PostgresError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT f.asked_at, j.job_id AS "job_id?", j.device_id AS "device_id?", j.resource AS "resource?",
                  j.provider AS "provider?", j.state AS "state?", c.state AS "connection_state?",
                  l.fetched_at AS "fetched_at?", l.fence IS DISTINCT FROM nullif(r.fence, 0) AS answered,
                  CASE WHEN j.last_error_at IS DISTINCT FROM r.error_at
                            AND j.last_error_at > coalesce(l.fetched_at, '-infinity') THEN j.last_error END AS error
           FROM refreshes f
           CROSS JOIN LATERAL unnest(f.jobs, f.fences, f.errors_at) r (job, fence, error_at)
           LEFT JOIN jobs j ON (j.tenant_id, j.job_id) = (f.tenant_id, r.job)
           LEFT JOIN devices d ON (d.tenant_id, d.device_id) = (j.tenant_id, j.device_id)
           LEFT JOIN connections c ON (c.tenant_id, c.connection_id) = (d.tenant_id, d.connection_id)
           LEFT JOIN latest l ON (l.tenant_id, l.device_id, l.resource) = (j.tenant_id, j.device_id, j.resource)
           WHERE f.tenant_id = $1 AND f.refresh_id = $2
           ORDER BY j.device_id, j.resource"#,
        tenant.0,
        id
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the refresh"))?;
    let asked_at = rows.first().map(|row| UnixMs::from(row.asked_at));
    let jobs = rows.into_iter().filter_map(Row::job).collect();
    Ok(asked_at.map(|asked_at| StoredRefresh { asked_at, jobs }))
}

/// Forgets the refreshes that were asked for before an instant.
pub async fn forget(pool: &Pool, before: UnixMs) -> Result<(), PostgresError> {
    const BATCH: u64 = 10_000;
    let delete = "-- All tenants: whoever asked has long had an answer.
                  DELETE FROM refreshes WHERE (tenant_id, refresh_id) IN (
                      SELECT tenant_id, refresh_id FROM refreshes WHERE asked_at < $1 LIMIT 10000)";
    loop {
        let deleted = sqlx::query(delete).bind(before.to_datetime()).execute(pool).await;
        if deleted.map_err(PostgresError::on("forget old refreshes"))?.rows_affected() < BATCH {
            return Ok(());
        }
    }
}

struct Row {
    asked_at: DateTime<Utc>,
    job_id: Option<i64>,
    device_id: Option<i64>,
    resource: Option<String>,
    provider: Option<String>,
    state: Option<String>,
    connection_state: Option<String>,
    fetched_at: Option<DateTime<Utc>>,
    answered: Option<bool>,
    error: Option<String>,
}

impl Row {
    /// Converts the row; none if the job was removed, or it holds a value that the tables' checks exclude.
    fn job(self) -> Option<RefreshedJob> {
        Some(RefreshedJob {
            job: JobId(self.job_id?),
            device: DeviceId(self.device_id?),
            resource: self.resource?.parse().ok()?,
            provider: self.provider?.parse().ok()?,
            state: JobState::from_name(&self.state?)?,
            connection_state: ConnectionState::from_name(&self.connection_state?)?,
            fetched_at: self.fetched_at.map(UnixMs::from),
            answered: self.answered?,
            error: self.error,
        })
    }
}
