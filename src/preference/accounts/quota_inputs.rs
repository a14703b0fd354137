//! Quota inputs: the params and the number of devices of connections, on which limits may depend.

use crate::postgres::{Pool, PostgresError};
use crate::words::{ConnectionId, JobId, ProviderName, TenantId};
use std::collections::BTreeMap;

/// The quota inputs of a connection.
#[derive(Debug, Clone)]
pub struct QuotaInputsRow {
    /// The connection.
    pub connection: ConnectionId,
    /// Its params, which may include its plan.
    pub params: BTreeMap<String, String>,
    /// The number of its devices.
    pub devices: u32,
    /// When it was read, µs since the epoch by Postgres's clock. Of two rows, the one read later is at least as new.
    pub read_at_us: i64,
}

/// The quota inputs of these connections.
pub async fn of(pool: &Pool, connections: &[i64]) -> Result<Vec<QuotaInputsRow>, PostgresError> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- All tenants: a provider's schedule has connections of any.
           SELECT c.connection_id, c.params,
                  (SELECT count(*) FROM devices d
                   WHERE d.tenant_id = c.tenant_id AND d.connection_id = c.connection_id) AS "devices!",
                  (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS "read_at_us!"
           FROM connections c WHERE c.connection_id = ANY($1)"#,
        connections
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the connections' quota inputs"))?;
    Ok(rows.into_iter().map(QuotaInputsRow::from).collect())
}

/// A page of a provider's connections that have jobs, ordered by number, after `after`.
pub async fn page(
    pool: &Pool,
    provider: &ProviderName,
    after: ConnectionId,
    limit: i64,
) -> Result<Vec<QuotaInputsRow>, PostgresError> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- All tenants: a provider's schedule has connections of any.
           SELECT c.connection_id, c.params,
                  (SELECT count(*) FROM devices d
                   WHERE d.tenant_id = c.tenant_id AND d.connection_id = c.connection_id) AS "devices!",
                  (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS "read_at_us!"
           FROM connections c
           WHERE c.provider = $1 AND c.connection_id > $2
                 AND EXISTS (SELECT FROM devices d JOIN jobs j USING (tenant_id, device_id)
                             WHERE d.tenant_id = c.tenant_id AND d.connection_id = c.connection_id)
           ORDER BY c.connection_id LIMIT $3"#,
        provider.as_str(),
        after.0,
        limit
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the connections' quota inputs"))?;
    Ok(rows.into_iter().map(QuotaInputsRow::from).collect())
}

/// Sets a connection's plan, with an outbox row for one of its jobs, which carries the quota inputs to the schedule.
/// Returns that job, if there is any.
pub async fn set_plan(
    pool: &Pool,
    tenant: TenantId,
    connection: ConnectionId,
    plan: &str,
) -> Result<Option<JobId>, PostgresError> {
    let job = sqlx::query_scalar!(
        r#"WITH moved AS (
               UPDATE connections SET params = params || jsonb_build_object('plan', $3::text)
               WHERE tenant_id = $1 AND connection_id = $2 RETURNING tenant_id, connection_id),
           one AS (
               SELECT j.provider, j.job_id FROM moved JOIN devices d USING (tenant_id, connection_id)
               JOIN jobs j USING (tenant_id, device_id) LIMIT 1),
           notified AS (INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM one)
           SELECT job_id FROM one WHERE pg_notify('paceline_outbox', '')::text IS NOT NULL"#,
        tenant.0,
        connection.0,
        plan
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("set the connection's plan"))?;
    Ok(job.map(JobId))
}

/// Those of these connections that have jobs in the outbox, so that the schedule will receive their quota inputs.
pub async fn pending(pool: &Pool, connections: &[i64]) -> Result<Vec<i64>, PostgresError> {
    sqlx::query_scalar!(
        "-- All tenants: the outbox names jobs of any.
         SELECT DISTINCT d.connection_id FROM outbox o JOIN jobs j USING (job_id)
         JOIN devices d USING (tenant_id, device_id) WHERE d.connection_id = ANY($1)",
        connections
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the outbox"))
}

struct Row {
    connection_id: i64,
    params: serde_json::Value,
    devices: i64,
    read_at_us: i64,
}

impl From<Row> for QuotaInputsRow {
    fn from(row: Row) -> Self {
        Self {
            connection: ConnectionId(row.connection_id),
            params: serde_json::from_value(row.params).unwrap_or_default(),
            devices: u32::try_from(row.devices).unwrap_or(u32::MAX),
            read_at_us: row.read_at_us,
        }
    }
}
