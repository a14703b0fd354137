//! Failures: an event per failure, and the job's status.

use crate::postgres::{Pool, PostgresError};
use crate::words::{CallId, JobId, TenantId, UnixMs};
use std::collections::HashMap;

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
    /// Whether it is probing from now on.
    pub probing: bool,
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
                 AS t (tenant_id, job_id, at, outcome, detail, failing, probing, fence)),
         events AS (
             -- None of a job that was removed meanwhile.
             INSERT INTO sync_events (tenant_id, job_id, at, outcome, detail)
             SELECT i.tenant_id, i.job_id, i.at, i.outcome, i.detail
             FROM input i JOIN jobs j USING (tenant_id, job_id)),
         -- The schedule puts them behind those that are well.
         noted AS (
             INSERT INTO outbox (provider, job_id)
             SELECT j.provider, j.job_id FROM input i JOIN jobs j USING (tenant_id, job_id)
             WHERE i.probing AND j.state = 'active')
         UPDATE jobs j SET
             last_error = i.outcome || CASE WHEN i.detail = '' THEN '' ELSE ': ' || i.detail END,
             last_error_at = i.at,
             failing_since = CASE WHEN i.failing THEN coalesce(j.failing_since, i.at) ELSE j.failing_since END,
             state = CASE WHEN i.probing AND j.state = 'active' THEN 'probing' ELSE j.state END,
             state_at = CASE WHEN i.probing AND j.state = 'active' THEN i.at ELSE j.state_at END,
             state_reason = CASE WHEN i.probing THEN i.outcome || ': ' || i.detail ELSE j.state_reason END
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
        &failures.iter().map(|f| f.probing).collect::<Vec<_>>(),
        &failures.iter().map(|f| f.call.0).collect::<Vec<_>>(),
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("record the failures"))
}

/// The last failures of a job that has not succeeded since.
#[derive(Debug, Clone)]
pub struct LastFailures {
    /// Their outcomes, the last first; of many, only the last.
    pub outcomes: Vec<String>,
    /// When the last happened.
    pub at: UnixMs,
}

/// The last failures of those of these jobs that have failed since they succeeded and since they were forgiven: an
/// owner changed them or gave new secrets, the provider's list has them again, or an incident ended.
pub async fn last_failures(pool: &Pool, jobs: &[i64]) -> Result<HashMap<JobId, LastFailures>, PostgresError> {
    let rows = sqlx::query!(
        r#"-- All tenants: a provider's schedule has jobs of any.
           SELECT j.job_id, f.outcomes AS "outcomes!", f.at AS "at!"
           FROM jobs j LEFT JOIN latest l USING (tenant_id, device_id, resource)
           CROSS JOIN LATERAL (
               SELECT array_agg(e.outcome ORDER BY e.at DESC) AS outcomes, max(e.at) AS at
               FROM (SELECT outcome, at FROM sync_events e
                     WHERE (e.tenant_id, e.job_id) = (j.tenant_id, j.job_id)
                       AND e.outcome IN ('transient', 'unauthorized', 'gone', 'broken', 'no_data')
                       AND e.at > coalesce(
                           greatest(l.fetched_at, j.forgiven_at, CASE WHEN j.state = 'active' THEN j.state_at END),
                           '-infinity')
                     -- More make no wait longer.
                     ORDER BY at DESC LIMIT 24) e) f
           WHERE j.job_id = ANY($1) AND j.state IN ('active', 'probing')
             AND j.last_error_at > coalesce(l.fetched_at, '-infinity') AND f.at IS NOT NULL"#,
        jobs
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the jobs' failures"))?;
    let failures = rows
        .into_iter()
        .map(|row| (JobId(row.job_id), LastFailures { outcomes: row.outcomes, at: UnixMs::from(row.at) }));
    Ok(failures.collect())
}

/// Clears the failing mark of jobs that succeeded. Those that were probing are active again, with the interval and the
/// priority that their owners chose; others of their connections that probe for the same reason are tried at once.
pub async fn recover(pool: &Pool, jobs: &[i64]) -> Result<(), PostgresError> {
    if jobs.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "-- All tenants: calls that end together are of any.
         WITH before AS (
             SELECT j.tenant_id, j.job_id, j.provider, j.state, split_part(j.state_reason, ':', 1) AS reason,
                    d.connection_id
             FROM jobs j JOIN devices d USING (tenant_id, device_id)
             WHERE j.job_id = ANY($1) AND (j.failing_since IS NOT NULL OR j.state = 'probing')
             FOR NO KEY UPDATE OF j),
         recovered AS (
             UPDATE jobs j SET failing_since = NULL,
                 state = CASE WHEN j.state = 'probing' THEN 'active' ELSE j.state END,
                 state_at = CASE WHEN j.state = 'probing' THEN now() ELSE j.state_at END,
                 state_reason = CASE WHEN j.state = 'probing' THEN NULL ELSE j.state_reason END
             FROM before b WHERE (j.tenant_id, j.job_id) = (b.tenant_id, b.job_id)),
         events AS (
             INSERT INTO sync_events (tenant_id, job_id, at, outcome, detail)
             SELECT tenant_id, job_id, now(), 'recovered', coalesce(reason, '') FROM before),
         siblings AS (
             -- A newer version: the schedule forgets their failures.
             UPDATE jobs j SET state = 'active', state_at = now(), state_reason = NULL, version = j.version + 1
             FROM before b JOIN devices d ON d.tenant_id = b.tenant_id AND d.connection_id = b.connection_id
             WHERE b.state = 'probing' AND j.tenant_id = d.tenant_id AND j.device_id = d.device_id
               AND j.state = 'probing' AND split_part(j.state_reason, ':', 1) = b.reason
               AND j.job_id <> ALL($1)
             RETURNING j.provider, j.job_id),
         noted AS (
             INSERT INTO outbox (provider, job_id)
             SELECT provider, job_id FROM before WHERE state = 'probing'
             UNION SELECT provider, job_id FROM siblings)
         SELECT pg_notify('paceline_outbox', '')::text AS notified FROM before WHERE state = 'probing' LIMIT 1",
        jobs
    )
    .fetch_all(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("note the recovery"))
}
