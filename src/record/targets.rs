//! What a worker must know of the jobs it was granted.

use crate::postgres::{Pool, PostgresError};
use crate::words::Validator;
use std::collections::HashMap;

/// One granted job, as Postgres has it now.
#[derive(Debug, Clone)]
pub struct TargetRow {
    /// Whose.
    pub tenant_id: i64,
    /// The job.
    pub job_id: i64,
    /// The device.
    pub device_id: i64,
    /// The account.
    pub connection_id: i64,
    /// The provider's id of the device.
    pub external_id: String,
    /// Its home or site, or empty.
    pub group_key: String,
    /// Whether it was failing.
    pub failing: bool,
}

/// Jobs of the same connection and resource as this one, by the provider's ids of their devices.
pub async fn siblings(
    pool: &Pool,
    job: i64,
    external_ids: &[String],
) -> Result<Vec<TargetRow>, PostgresError> {
    sqlx::query_as!(
        TargetRow,
        r#"WITH one AS MATERIALIZED (
               SELECT j.tenant_id, j.resource, d.connection_id
               FROM jobs j JOIN devices d USING (tenant_id, device_id) WHERE j.job_id = $1),
           named AS MATERIALIZED (
               SELECT d.* FROM one JOIN devices d USING (tenant_id, connection_id)
               WHERE d.external_id = ANY($2))
           SELECT j.tenant_id AS "tenant_id!", j.job_id AS "job_id!", j.device_id AS "device_id!", d.connection_id,
                  d.external_id, d.group_key, j.failing_since IS NOT NULL AS "failing!"
           FROM one CROSS JOIN named d
           JOIN jobs j ON j.tenant_id = d.tenant_id AND j.device_id = d.device_id AND j.resource = one.resource
           WHERE j.state = 'active'"#,
        job,
        external_ids
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the jobs that an answer told of"))
}

/// Those of these jobs that are still wanted. The schedule may not have heard yet of one that is not.
pub async fn read(pool: &Pool, jobs: &[i64]) -> Result<Vec<TargetRow>, PostgresError> {
    sqlx::query_as!(
        TargetRow,
        r#"WITH wanted AS MATERIALIZED (SELECT * FROM jobs WHERE job_id = ANY($1) AND state = 'active')
           SELECT j.tenant_id AS "tenant_id!", j.job_id AS "job_id!", j.device_id AS "device_id!", d.connection_id,
                  d.external_id, d.group_key, j.failing_since IS NOT NULL AS "failing!"
           FROM wanted j JOIN devices d USING (tenant_id, device_id)"#,
        jobs
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the granted jobs"))
}

/// What stands beside the latest readings of these jobs, by which only what is new is asked for.
pub async fn validators(pool: &Pool, jobs: &[i64]) -> Result<HashMap<i64, Validator>, PostgresError> {
    let rows = sqlx::query!(
        r#"WITH wanted AS MATERIALIZED (
               SELECT tenant_id, device_id, resource, job_id FROM jobs WHERE job_id = ANY($1))
           SELECT w.job_id AS "job_id!", l.validator AS "validator!"
           FROM wanted w JOIN latest l USING (tenant_id, device_id, resource) WHERE l.validator IS NOT NULL"#,
        jobs
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read what the granted jobs have seen"))?;
    // One that cannot be read is none: all is asked for.
    let read = |row| serde_json::from_value(row).ok();
    Ok(rows.into_iter().filter_map(|row| Some((row.job_id, read(row.validator)?))).collect())
}
