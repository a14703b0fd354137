//! Jobs as they are stored, with what the schedule needs to know of them.

use super::windows::Windows;
use crate::postgres::{Pool, PostgresError};
use crate::words::{
    ConnectionId, DeviceId, Interval, Job, JobId, JobOrigin, JobState, Priority, ProviderName, TenantId,
    UnixMs,
};

/// A stored job, with its last run and its connection's state.
#[derive(Debug, Clone)]
pub struct StoredJob {
    /// The job. While it is probing, its priority is the lowest.
    pub job: Job,
    /// The priority that its owner chose.
    pub priority_asked: Priority,
    /// Its intervals by time of day.
    pub windows: Option<Windows>,
    /// Where the preference stands.
    pub origin: JobOrigin,
    /// When it was last fetched successfully, if ever.
    pub last_run: Option<UnixMs>,
    /// When it was made, by Postgres's clock.
    pub created_at: UnixMs,
    /// Whether its connection is active, or the job probes it.
    pub usable: bool,
    /// The weight of its tenant's lanes.
    pub weight: u32,
}

/// A job as it is stored, with what its owner asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The job, with the interval in force and the priority that its owner chose.
    pub job: Job,
    /// Its intervals by time of day.
    pub windows: Option<Windows>,
    /// Where the preference stands.
    pub origin: JobOrigin,
}

impl StoredJob {
    /// The job as its owner asks for it.
    pub fn asked(&self) -> Asked {
        let job = Job { priority: self.priority_asked, ..self.job.clone() };
        Asked { job, windows: self.windows.clone(), origin: self.origin }
    }

    /// Whether it belongs in the schedule.
    pub fn is_scheduled(&self) -> bool {
        self.usable && self.job.state.is_scheduled()
    }
}

/// These jobs, without those that no longer exist.
pub async fn by_id(pool: &Pool, ids: &[i64]) -> Result<Vec<StoredJob>, PostgresError> {
    let rows = sqlx::query_as!(
        JobRow,
        // OFFSET 0: one look at the index for each, however large or small Postgres takes the tables to be.
        r#"-- All tenants: the outbox names jobs of any.
           WITH wanted AS MATERIALIZED (SELECT * FROM jobs WHERE job_id = ANY($1)),
           placed AS MATERIALIZED (
               SELECT w.*, d.connection_id, d.group_key, l.fetched_at FROM wanted w
               CROSS JOIN LATERAL (SELECT * FROM devices d
                                   WHERE (d.tenant_id, d.device_id) = (w.tenant_id, w.device_id) OFFSET 0) d
               LEFT JOIN LATERAL (SELECT l.fetched_at FROM latest l
                                  WHERE (l.tenant_id, l.device_id, l.resource) = (w.tenant_id, w.device_id, w.resource)
                                  OFFSET 0) l ON true)
           SELECT j.tenant_id AS "tenant_id!", j.job_id AS "job_id!", j.device_id AS "device_id!",
                  j.resource AS "resource!", j.provider AS "provider!", j.interval_ms AS "interval_ms!",
                  j.priority AS "priority!", j.state AS "state!", j.version AS "version!",
                  j.base_ms AS "base_ms?", j.windows AS "windows?", j.origin AS "origin!",
                  j.connection_id AS "connection_id!", j.group_key AS "group_key!",
                  c.state = 'active' OR is_probe(c.tenant_id, c.connection_id, j.job_id) AS "usable!", t.weight,
                  j.fetched_at AS "fetched_at?", j.created_at AS "created_at!"
           FROM placed j
           JOIN tenants t USING (tenant_id)
           JOIN connections c USING (tenant_id, connection_id)"#,
        ids
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the jobs"))?;
    Ok(rows.into_iter().filter_map(stored).collect())
}

/// All jobs of these connections, ordered by number.
pub async fn of_connections(
    pool: &Pool,
    connections: &[ConnectionId],
) -> Result<Vec<StoredJob>, PostgresError> {
    let rows = sqlx::query_as!(
        JobRow,
        r#"-- All tenants: a change may be about connections of any.
           WITH asked AS MATERIALIZED (SELECT * FROM connections WHERE connection_id = ANY($1)),
           placed AS MATERIALIZED (
               SELECT j.*, a.connection_id, d.group_key, l.fetched_at, a.state AS connection_state FROM asked a
               CROSS JOIN LATERAL (SELECT * FROM devices d
                                   WHERE (d.tenant_id, d.connection_id) = (a.tenant_id, a.connection_id) OFFSET 0) d
               CROSS JOIN LATERAL (SELECT * FROM jobs j
                                   WHERE (j.tenant_id, j.device_id) = (d.tenant_id, d.device_id) OFFSET 0) j
               LEFT JOIN LATERAL (SELECT l.fetched_at FROM latest l
                                  WHERE (l.tenant_id, l.device_id, l.resource) = (j.tenant_id, j.device_id, j.resource)
                                  OFFSET 0) l ON true)
           SELECT j.tenant_id AS "tenant_id!", j.job_id AS "job_id!", j.device_id AS "device_id!",
                  j.resource AS "resource!", j.provider AS "provider!", j.interval_ms AS "interval_ms!",
                  j.priority AS "priority!", j.state AS "state!", j.version AS "version!",
                  j.base_ms AS "base_ms?", j.windows AS "windows?", j.origin AS "origin!",
                  j.connection_id AS "connection_id!", j.group_key AS "group_key!",
                  j.connection_state = 'active' OR is_probe(j.tenant_id, j.connection_id, j.job_id) AS "usable!",
                  t.weight, j.fetched_at AS "fetched_at?", j.created_at AS "created_at!"
           FROM placed j JOIN tenants t USING (tenant_id)
           ORDER BY j.job_id"#,
        &connections.iter().map(|id| id.0).collect::<Vec<_>>()
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the jobs of connections"))?;
    Ok(rows.into_iter().filter_map(stored).collect())
}

/// A page of a provider's jobs, ordered by number, after `after`.
pub async fn page(
    pool: &Pool,
    provider: &ProviderName,
    after: JobId,
    limit: i64,
) -> Result<Vec<StoredJob>, PostgresError> {
    let rows = sqlx::query_as!(
        JobRow,
        r#"-- All tenants: a provider's schedule has jobs of any.
           WITH wanted AS MATERIALIZED (
               SELECT * FROM jobs WHERE provider = $1 AND job_id > $2 ORDER BY job_id LIMIT $3),
           placed AS MATERIALIZED (
               SELECT w.*, d.connection_id, d.group_key, l.fetched_at FROM wanted w
               CROSS JOIN LATERAL (SELECT * FROM devices d
                                   WHERE (d.tenant_id, d.device_id) = (w.tenant_id, w.device_id) OFFSET 0) d
               LEFT JOIN LATERAL (SELECT l.fetched_at FROM latest l
                                  WHERE (l.tenant_id, l.device_id, l.resource) = (w.tenant_id, w.device_id, w.resource)
                                  OFFSET 0) l ON true)
           SELECT j.tenant_id AS "tenant_id!", j.job_id AS "job_id!", j.device_id AS "device_id!",
                  j.resource AS "resource!", j.provider AS "provider!", j.interval_ms AS "interval_ms!",
                  j.priority AS "priority!", j.state AS "state!", j.version AS "version!",
                  j.base_ms AS "base_ms?", j.windows AS "windows?", j.origin AS "origin!",
                  j.connection_id AS "connection_id!", j.group_key AS "group_key!",
                  c.state = 'active' OR is_probe(c.tenant_id, c.connection_id, j.job_id) AS "usable!", t.weight,
                  j.fetched_at AS "fetched_at?", j.created_at AS "created_at!"
           FROM placed j
           JOIN tenants t USING (tenant_id)
           JOIN connections c USING (tenant_id, connection_id)
           ORDER BY j.job_id"#,
        provider.as_str(),
        after.0,
        limit
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the jobs"))?;
    Ok(rows.into_iter().filter_map(stored).collect())
}

/// The largest job number of a provider.
pub async fn last_id(pool: &Pool, provider: &ProviderName) -> Result<JobId, PostgresError> {
    let last = sqlx::query_scalar!(
        "-- All tenants: a provider's schedule has jobs of any.
                                    SELECT max(job_id) FROM jobs WHERE provider = $1",
        provider.as_str()
    )
    .fetch_one(pool)
    .await
    .map_err(PostgresError::on("read the jobs"))?;
    Ok(JobId(last.unwrap_or(0)))
}

struct JobRow {
    tenant_id: i64,
    job_id: i64,
    device_id: i64,
    resource: String,
    provider: String,
    interval_ms: i64,
    priority: i16,
    state: String,
    version: i64,
    base_ms: Option<i64>,
    windows: Option<serde_json::Value>,
    origin: String,
    connection_id: i64,
    group_key: String,
    usable: bool,
    weight: i32,
    fetched_at: Option<chrono::DateTime<chrono::Utc>>,
    created_at: chrono::DateTime<chrono::Utc>,
}

/// Converts the row; none if it holds a value that the table's checks exclude.
fn stored(row: JobRow) -> Option<StoredJob> {
    let (state, priority) =
        (JobState::from_name(&row.state)?, Priority::from_class(row.priority.try_into().ok()?)?);
    let job = Job {
        id: JobId(row.job_id),
        tenant: TenantId(row.tenant_id),
        provider: row.provider.parse().ok()?,
        connection: ConnectionId(row.connection_id),
        device: DeviceId(row.device_id),
        group: row.group_key,
        resource: row.resource.parse().ok()?,
        interval: Interval::from_ms(row.interval_ms.try_into().ok()?)?,
        // Behind those that are well, whatever its owner chose.
        priority: if state == JobState::Probing { Priority::Background } else { priority },
        state,
        version: row.version,
    };
    Some(StoredJob {
        job,
        priority_asked: priority,
        windows: Windows::read(row.base_ms, row.windows.as_ref()),
        origin: JobOrigin::from_name(&row.origin)?,
        last_run: row.fetched_at.map(UnixMs::from),
        created_at: row.created_at.into(),
        usable: row.usable,
        weight: row.weight.max(1) as u32,
    })
}
