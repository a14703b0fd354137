//! One change to many jobs of a tenant: all of them or none.

use super::JobPatch;
use crate::postgres::{Pool, PostgresError};
use crate::words::{
    ConnectionId, DeviceId, Interval, JobId, JobState, ProviderName, ResourceName, TenantId, UnixMs,
};
use std::collections::HashSet;

/// Which jobs. What is none does not matter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobFilter {
    /// Of these devices.
    pub ids: Option<Vec<DeviceId>>,
    /// Of this provider.
    pub provider: Option<String>,
    /// Under the connection of this label or number.
    pub connection: Option<String>,
    /// Of devices of this home or site.
    pub group: Option<String>,
    /// Of devices of this model.
    pub model: Option<String>,
    /// Of devices with this text in their names, in upper or lower case.
    pub name_contains: Option<String>,
    /// Of this resource.
    pub resource: Option<String>,
    /// In this state.
    pub state: Option<JobState>,
    /// That ask for shorter intervals than this.
    pub faster_than: Option<Interval>,
}

/// A job that a filter names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// The job.
    pub job: JobId,
    /// Its device.
    pub device: DeviceId,
    /// Its connection.
    pub connection: ConnectionId,
    /// Its provider.
    pub provider: ProviderName,
    /// Its resource.
    pub resource: ResourceName,
}

/// The tenant's jobs that a filter names.
pub async fn matching(
    pool: &Pool,
    tenant: TenantId,
    filter: &JobFilter,
) -> Result<Vec<Matched>, PostgresError> {
    matched(pool, tenant, filter).await
}

/// What came of a change of many jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The jobs that the filter named.
    pub matched: Vec<Matched>,
    /// Those of them that are otherwise than before.
    pub jobs: Vec<JobId>,
}

/// Makes a change to all of the tenant's jobs that a filter names, together with their outbox rows. Active and paused
/// jobs that are so already keep their version; probing ones become active.
///
/// `check` looks at the jobs before any of them is changed: if it refuses them, nothing is changed. Two such changes at
/// once follow each other: each sees the jobs as the other left them.
pub async fn change_all<E: From<PostgresError>>(
    pool: &Pool,
    tenant: TenantId,
    filter: &JobFilter,
    patch: &JobPatch,
    now: UnixMs,
    check: impl FnOnce(&[Matched]) -> Result<(), E>,
) -> Result<Changed, E> {
    let failed = || PostgresError::on("change the jobs");
    let mut tx = pool.for_long_statements().begin().await.map_err(failed())?;
    // One change of a tenant's jobs at a time: two that lock the same jobs in different orders would wait for each
    // other.
    sqlx::query!("SELECT tenant_id FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant.0)
        .fetch_optional(&mut tx)
        .await
        .map_err(failed())?;
    // What others change meanwhile is seen before it is judged, and nothing is changed after that.
    let named = matched(&mut tx, tenant, filter).await?;
    let ids: HashSet<JobId> = named.iter().map(|one| one.job).collect();
    sqlx::query!(
        "SELECT job_id FROM jobs WHERE tenant_id = $1 AND job_id = ANY($2) ORDER BY job_id FOR NO KEY UPDATE",
        tenant.0,
        &named.iter().map(|one| one.job.0).collect::<Vec<_>>()
    )
    .fetch_all(&mut tx)
    .await
    .map_err(failed())?;
    let mut matched = matched(&mut tx, tenant, filter).await?;
    matched.retain(|one| ids.contains(&one.job));
    check(&matched)?;
    let (interval, in_force) = patch.in_force(now);
    let jobs = sqlx::query_scalar!(
        r#"WITH changed AS (
             UPDATE jobs j SET
                 interval_ms = CASE WHEN $6::boolean THEN coalesce($3::bigint, j.base_ms, j.interval_ms)
                                    WHEN j.in_window THEN j.interval_ms
                                    ELSE coalesce($3, j.interval_ms) END,
                 base_ms = CASE WHEN $6 THEN $7::bigint WHEN j.windows IS NOT NULL THEN coalesce($3, j.base_ms) END,
                 windows = CASE WHEN $6 THEN $8::jsonb ELSE j.windows END,
                 in_window = CASE WHEN $6 THEN $9::boolean ELSE j.in_window END,
                 turns_at = CASE WHEN $6 THEN $10::timestamptz ELSE j.turns_at END,
                 origin = CASE WHEN $11::boolean THEN 'device' ELSE j.origin END,
                 priority = coalesce($4, j.priority),
                 state = CASE WHEN $5 THEN 'paused'
                              WHEN $5 IS NULL AND j.state = 'paused' THEN 'paused'
                              ELSE 'active' END,
                 state_reason = NULL,
                 state_at = now(),
                 version = j.version + 1
             WHERE j.tenant_id = $1 AND j.job_id = ANY($2)
                 AND (coalesce(j.base_ms, j.interval_ms) <> coalesce($7::bigint, $3::bigint)
                      OR $6 AND j.windows IS DISTINCT FROM $8
                      OR $11 AND j.origin <> 'device'
                      OR j.priority <> $4 OR (j.state = 'paused') <> $5 OR j.state = 'probing')
             RETURNING job_id, provider),
         notified AS (INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM changed)
         SELECT job_id FROM changed"#,
        tenant.0,
        &matched.iter().map(|one| one.job.0).collect::<Vec<_>>(),
        interval.map(|i| i.as_ms() as i64) as Option<i64>,
        patch.priority.map(|p| i16::from(p.class())) as Option<i16>,
        patch.paused as Option<bool>,
        patch.windows.is_some(),
        in_force.as_ref().map(|it| it.base_ms) as Option<i64>,
        in_force.as_ref().map(|it| it.json.clone()) as Option<serde_json::Value>,
        in_force.as_ref().is_some_and(|it| it.in_window),
        in_force.as_ref().map(|it| it.turns_at.to_datetime()) as Option<chrono::DateTime<chrono::Utc>>,
        patch.is_own()
    )
    .fetch_all(&mut tx)
    .await
    .map_err(failed())?;
    sqlx::query!("SELECT pg_notify('paceline_outbox', '')::text AS notified")
        .fetch_one(&mut tx)
        .await
        .map_err(failed())?;
    tx.commit().await.map_err(failed())?;
    Ok(Changed { matched, jobs: jobs.into_iter().map(JobId).collect() })
}

async fn matched(
    executor: impl sqlx::PgExecutor<'_>,
    tenant: TenantId,
    filter: &JobFilter,
) -> Result<Vec<Matched>, PostgresError> {
    let ids = filter.ids.as_ref().map(|ids| ids.iter().map(|id| id.0).collect::<Vec<_>>());
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT j.job_id, j.device_id, d.connection_id, j.provider, j.resource
           FROM jobs j JOIN devices d USING (tenant_id, device_id) JOIN connections c USING (tenant_id, connection_id)
           WHERE j.tenant_id = $1
             AND ($2::bigint[] IS NULL OR j.device_id = ANY($2))
             AND ($3::text IS NULL OR j.provider = $3)
             AND ($4::text IS NULL OR c.label = $4 OR c.connection_id::text = $4)
             AND ($5::text IS NULL OR d.group_key = $5)
             AND ($6::text IS NULL OR d.model = $6)
             AND ($7::text IS NULL OR position(lower($7) IN lower(d.name)) > 0)
             AND ($8::text IS NULL OR j.resource = $8)
             AND ($9::text IS NULL OR j.state = $9)
             AND ($10::bigint IS NULL OR j.interval_ms < $10)
           ORDER BY j.job_id"#,
        tenant.0,
        ids.as_deref(),
        filter.provider,
        filter.connection,
        filter.group,
        filter.model,
        filter.name_contains,
        filter.resource,
        filter.state.map(JobState::as_str),
        filter.faster_than.map(|interval| interval.as_ms() as i64),
    )
    .fetch_all(executor)
    .await
    .map_err(PostgresError::on("find the jobs"))?;
    Ok(rows.into_iter().filter_map(Row::matched).collect())
}

struct Row {
    job_id: i64,
    device_id: i64,
    connection_id: i64,
    provider: String,
    resource: String,
}

impl Row {
    /// Converts the row; none if it holds a value that the tables' checks exclude.
    fn matched(self) -> Option<Matched> {
        Some(Matched {
            job: JobId(self.job_id),
            device: DeviceId(self.device_id),
            connection: ConnectionId(self.connection_id),
            provider: self.provider.parse().ok()?,
            resource: self.resource.parse().ok()?,
        })
    }
}
