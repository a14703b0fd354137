//! Refreshes that were asked for: of which jobs, and what came of them.

use crate::postgres::{Pool, PostgresError};
use crate::words::{DeviceId, JobId, JobState, ProviderName, ResourceName, TenantId, UnixMs};
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
    /// Whether its connection is active.
    pub usable: bool,
    /// When a good answer last came.
    pub fetched_at: Option<UnixMs>,
    /// Whether it was answered since it was asked for.
    pub answered: bool,
    /// What went wrong since then, if nothing good came after it: `<outcome>: <detail>`.
    pub error: Option<String>,
}

/// Notes that these jobs of a tenant are asked for, and how they stand. Returns the refresh's number; none if the
/// tenant has no such job.
pub async fn add(
    pool: &Pool,
    tenant: TenantId,
    asked_at: UnixMs,
    jobs: &[JobId],
) -> Result<Option<i64>, PostgresError> {
    sqlx::query_scalar!(
        r#"INSERT INTO refreshes (tenant_id, asked_at, jobs, fences, errors_at)
           SELECT $1, $2, array_agg(j.job_id ORDER BY j.job_id), array_agg(coalesce(l.fence, 0) ORDER BY j.job_id),
                  array_agg(j.last_error_at ORDER BY j.job_id)
           FROM jobs j LEFT JOIN latest l USING (tenant_id, device_id, resource)
           WHERE j.tenant_id = $1 AND j.job_id = ANY($3)
           HAVING count(*) > 0
           RETURNING refresh_id"#,
        tenant.0,
        asked_at.to_datetime(),
        &jobs.iter().map(|job| job.0).collect::<Vec<_>>()
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("note the refresh"))
}

/// Leaves only these of a refresh's jobs in it; without any, forgets it.
pub async fn keep(pool: &Pool, tenant: TenantId, id: i64, jobs: &[JobId]) -> Result<(), PostgresError> {
    let jobs: Vec<_> = jobs.iter().map(|job| job.0).collect();
    let done = if jobs.is_empty() {
        let delete = "DELETE FROM refreshes WHERE tenant_id = $1 AND refresh_id = $2";
        sqlx::query(delete).bind(tenant.0).bind(id).execute(pool).await
    } else {
        sqlx::query(
            "UPDATE refreshes SET (jobs, fences, errors_at) = (
                 SELECT array_agg(r.job ORDER BY r.job), array_agg(r.fence ORDER BY r.job),
                        array_agg(r.error_at ORDER BY r.job)
                 FROM unnest(jobs, fences, errors_at) r (job, fence, error_at) WHERE r.job = ANY($3))
             WHERE tenant_id = $1 AND refresh_id = $2",
        )
        .bind(tenant.0)
        .bind(id)
        .bind(jobs)
        .execute(pool)
        .await
    };
    done.map(drop).map_err(PostgresError::on("note the refresh"))
}

/// A tenant's refresh; none if there is none of this number, or not any more.
pub async fn find(pool: &Pool, tenant: TenantId, id: i64) -> Result<Option<StoredRefresh>, PostgresError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT f.asked_at, j.job_id AS "job_id?", j.device_id AS "device_id?", j.resource AS "resource?",
                  j.provider AS "provider?", j.state AS "state?", c.state = 'active' AS usable,
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
    sqlx::query(
        "-- All tenants: whoever asked has long had an answer.\n DELETE FROM refreshes WHERE asked_at < $1",
    )
    .bind(before.to_datetime())
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("forget old refreshes"))
}

struct Row {
    asked_at: DateTime<Utc>,
    job_id: Option<i64>,
    device_id: Option<i64>,
    resource: Option<String>,
    provider: Option<String>,
    state: Option<String>,
    usable: Option<bool>,
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
            usable: self.usable?,
            fetched_at: self.fetched_at.map(UnixMs::from),
            answered: self.answered?,
            error: self.error,
        })
    }
}
