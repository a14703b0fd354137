//! Reads what a worker needs about granted jobs.

use crate::postgres::{Pool, PostgresError};
use crate::words::{JobId, Validator};
use std::collections::HashMap;

/// A granted job as Postgres has it now.
#[derive(Debug, Clone)]
pub struct TargetRow {
    /// The tenant.
    pub tenant_id: i64,
    /// The job.
    pub job_id: i64,
    /// The device.
    pub device_id: i64,
    /// The connection.
    pub connection_id: i64,
    /// The provider's id of the device.
    pub external_id: String,
    /// Its home or site, or empty.
    pub group_key: String,
    /// Whether it is failing.
    pub failing: bool,
}

/// For each pair of a job and a device's id at the provider: the job of that device with the same connection and
/// resource, if it is scheduled. Keyed by the job of the pair.
pub async fn siblings(
    pool: &Pool,
    pairs: &[(JobId, &str)],
) -> Result<HashMap<JobId, Vec<TargetRow>>, PostgresError> {
    if pairs.is_empty() {
        return Ok(HashMap::new());
    }
    let (jobs, ids): (Vec<i64>, Vec<String>) =
        pairs.iter().map(|(job, id)| (job.0, (*id).to_owned())).unzip();
    let rows = sqlx::query!(
        r#"-- All tenants: calls that end together are of any.
           WITH pair AS MATERIALIZED (SELECT * FROM UNNEST($1::bigint[], $2::text[]) AS t (of_job, external_id)),
           one AS MATERIALIZED (
               SELECT j.job_id AS of_job, j.tenant_id, j.resource, d.connection_id
               FROM jobs j JOIN devices d USING (tenant_id, device_id) WHERE j.job_id = ANY($1)),
           asked AS MATERIALIZED (SELECT * FROM one JOIN pair USING (of_job)),
           named AS MATERIALIZED (
               SELECT a.of_job, a.resource, d.*
               FROM asked a JOIN devices d ON d.tenant_id = a.tenant_id AND d.connection_id = a.connection_id
                                           AND d.external_id = a.external_id)
           SELECT n.of_job AS "of_job!", j.tenant_id AS "tenant_id!", j.job_id AS "job_id!",
                  j.device_id AS "device_id!", n.connection_id AS "connection_id!", n.external_id AS "external_id!",
                  n.group_key AS "group_key!", j.failing_since IS NOT NULL AS "failing!"
           FROM named n
           JOIN jobs j ON j.tenant_id = n.tenant_id AND j.device_id = n.device_id AND j.resource = n.resource
           WHERE j.state IN ('active', 'probing')"#,
        &jobs,
        &ids
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the jobs of unsolicited records"))?;
    let mut found: HashMap<JobId, Vec<TargetRow>> = HashMap::new();
    for row in rows {
        found.entry(JobId(row.of_job)).or_default().push(TargetRow {
            tenant_id: row.tenant_id,
            job_id: row.job_id,
            device_id: row.device_id,
            connection_id: row.connection_id,
            external_id: row.external_id,
            group_key: row.group_key,
            failing: row.failing,
        });
    }
    Ok(found)
}

/// Those of these jobs that belong on the schedule, which may lag behind a pause or a refusal.
pub async fn read(pool: &Pool, jobs: &[i64]) -> Result<Vec<TargetRow>, PostgresError> {
    sqlx::query_as!(
        TargetRow,
        r#"-- All tenants: calls that are granted together are of any.
           WITH wanted AS MATERIALIZED (
               SELECT * FROM jobs WHERE job_id = ANY($1) AND state IN ('active', 'probing')),
           -- One look at the index for each, however large or small Postgres takes the table to be.
           placed AS MATERIALIZED (
               SELECT w.*, d.connection_id, d.external_id, d.group_key FROM wanted w
               CROSS JOIN LATERAL (SELECT * FROM devices d
                                   WHERE (d.tenant_id, d.device_id) = (w.tenant_id, w.device_id) OFFSET 0) d)
           SELECT j.tenant_id AS "tenant_id!", j.job_id AS "job_id!", j.device_id AS "device_id!",
                  j.connection_id AS "connection_id!", j.external_id AS "external_id!", j.group_key AS "group_key!",
                  j.failing_since IS NOT NULL AS "failing!"
           FROM placed j JOIN connections c USING (tenant_id, connection_id)
           WHERE c.state = 'active' OR is_probe(c.tenant_id, c.connection_id, j.job_id)"#,
        jobs
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the granted jobs"))
}

/// The validators stored with the latest readings of these jobs, for conditional requests.
pub async fn validators(pool: &Pool, jobs: &[i64]) -> Result<HashMap<i64, Validator>, PostgresError> {
    let rows = sqlx::query!(
        r#"-- All tenants: calls that are granted together are of any.
           WITH wanted AS MATERIALIZED (
               SELECT tenant_id, device_id, resource, job_id FROM jobs WHERE job_id = ANY($1))
           SELECT w.job_id AS "job_id!", l.validator AS "validator!"
           FROM wanted w JOIN latest l USING (tenant_id, device_id, resource) WHERE l.validator IS NOT NULL"#,
        jobs
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the validators of the granted jobs"))?;
    // One that cannot be read counts as none: the request is unconditional.
    let read = |row| serde_json::from_value(row).ok();
    Ok(rows.into_iter().filter_map(|row| Some((row.job_id, read(row.validator)?))).collect())
}
