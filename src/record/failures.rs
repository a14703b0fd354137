//! Failures: an event per failure, and the job's status.

use crate::postgres::{Pool, PostgresError};
use crate::words::{CallId, JobId, TenantId, UnixMs};

/// A job's failure.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The tenant.
    pub tenant: TenantId,
    /// The job.
    pub job: JobId,
    /// The call, as fence.
    pub call: CallId,
    /// When it happened.
    pub at: UnixMs,
    /// The outcome's word.
    pub outcome: &'static str,
    /// Details for a person.
    pub detail: String,
    /// Whether the job counts as failing, not just as late.
    pub failing: bool,
    /// Whether it leaves the schedule.
    pub park: bool,
}

/// Stores failures as events and in the jobs' status. Never touches the last good value.
pub async fn write(pool: &Pool, failures: &[Failure]) -> Result<(), PostgresError> {
    if failures.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "WITH input AS (
             SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[],
                                  $6::boolean[], $7::boolean[], $8::bigint[])
                 AS t (tenant_id, job_id, at, outcome, detail, failing, park, fence)),
         told AS (
             INSERT INTO sync_events (tenant_id, job_id, at, outcome, detail)
             SELECT tenant_id, job_id, at, outcome, detail FROM input)
         UPDATE jobs j SET
             last_error = i.outcome || CASE WHEN i.detail = '' THEN '' ELSE ': ' || i.detail END,
             last_error_at = i.at,
             failing_since = CASE WHEN i.failing THEN coalesce(j.failing_since, i.at) ELSE j.failing_since END,
             state = CASE WHEN i.park AND j.state = 'active' THEN 'parked' ELSE j.state END,
             version = CASE WHEN i.park AND j.state = 'active' THEN j.version + 1 ELSE j.version END,
             state_reason = CASE WHEN i.park AND j.state = 'active' THEN i.outcome || ': ' || i.detail
                                 ELSE j.state_reason END
         FROM input i WHERE (j.tenant_id, j.job_id) = (i.tenant_id, i.job_id)
         -- The fence: a worker that comes after a later success changes nothing.
         AND NOT EXISTS (SELECT 1 FROM latest l
                         WHERE (l.tenant_id, l.device_id, l.resource) = (j.tenant_id, j.device_id, j.resource)
                         AND l.fence > i.fence)",
        &failures.iter().map(|f| f.tenant.0).collect::<Vec<_>>(),
        &failures.iter().map(|f| f.job.0).collect::<Vec<_>>(),
        &failures.iter().map(|f| f.at.to_datetime()).collect::<Vec<_>>(),
        &failures.iter().map(|f| f.outcome.to_owned()).collect::<Vec<_>>(),
        &failures.iter().map(|f| f.detail.clone()).collect::<Vec<_>>(),
        &failures.iter().map(|f| f.failing).collect::<Vec<_>>(),
        &failures.iter().map(|f| f.park).collect::<Vec<_>>(),
        &failures.iter().map(|f| f.call.0).collect::<Vec<_>>(),
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("record the failures"))
}

/// Clears the failing mark of jobs that succeeded.
pub async fn recover(pool: &Pool, jobs: &[i64]) -> Result<(), PostgresError> {
    if jobs.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE jobs SET failing_since = NULL WHERE job_id = ANY($1) AND failing_since IS NOT NULL",
        jobs
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("note the recovery"))
}
