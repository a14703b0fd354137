//! A tenant's devices with their jobs, in pages.

use crate::postgres::{Pool, PostgresError};
use crate::words::{ConnectionId, DeviceId, Interval, JobOrigin, Priority, TenantId, Timetable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A device in a list.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceRow {
    /// Its number.
    pub device: DeviceId,
    /// The provider's id of the device.
    pub external_id: String,
    /// Its label.
    pub name: String,
    /// Its group, such as a home; empty for none.
    pub group: String,
    /// Its model; empty if unknown.
    pub model: String,
    /// Since when it is missing from the provider's list of devices.
    pub missing_since: Option<chrono::DateTime<chrono::Utc>>,
    /// The connection's label.
    pub connection: String,
    /// The provider's name.
    pub provider: String,
    /// Its jobs, by resource name.
    pub jobs: BTreeMap<String, JobRow>,
}

/// A job in a list.
#[derive(Debug, Clone, Serialize)]
pub struct JobRow {
    /// The interval; with windows, the one outside of them.
    pub interval: Option<Interval>,
    /// Other intervals by time of day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Timetable>,
    /// Where the preference stands.
    pub from: Option<JobOrigin>,
    /// The priority.
    pub priority: Option<Priority>,
    /// `active`, `paused` or `probing`.
    pub state: String,
}

#[derive(Deserialize)]
struct StoredJob {
    interval_ms: u64,
    windows: Option<serde_json::Value>,
    origin: String,
    priority: u8,
    state: String,
}

impl From<StoredJob> for JobRow {
    fn from(job: StoredJob) -> Self {
        Self {
            interval: Interval::from_ms(job.interval_ms),
            windows: job.windows.as_ref().and_then(Timetable::from_json),
            from: JobOrigin::from_name(&job.origin),
            priority: Priority::from_class(job.priority),
            state: job.state,
        }
    }
}

/// A page of the tenant's devices after this one, ordered by number; optionally of one connection.
pub async fn page(
    pool: &Pool,
    tenant: TenantId,
    connection: Option<ConnectionId>,
    after: DeviceId,
    limit: i64,
) -> Result<Vec<DeviceRow>, PostgresError> {
    let rows = sqlx::query!(
        r#"SELECT d.device_id, d.external_id, d.name, d.group_key, d.model, d.missing_since, c.label, c.provider,
                  (SELECT coalesce(jsonb_object_agg(j.resource, jsonb_build_object(
                      'interval_ms', coalesce(j.base_ms, j.interval_ms), 'windows', j.windows, 'origin', j.origin,
                      'priority', j.priority, 'state', j.state)), '{}')
                   FROM jobs j WHERE j.tenant_id = d.tenant_id AND j.device_id = d.device_id) AS "jobs!"
           FROM devices d JOIN connections c USING (tenant_id, connection_id)
           WHERE d.tenant_id = $1 AND d.device_id > $2 AND ($3::bigint IS NULL OR d.connection_id = $3)
           ORDER BY d.device_id LIMIT $4"#,
        tenant.0,
        after.0,
        connection.map(|c| c.0),
        limit
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("list the devices"))?;
    let row = rows.into_iter().map(|row| DeviceRow {
        device: DeviceId(row.device_id),
        external_id: row.external_id,
        name: row.name,
        group: row.group_key,
        model: row.model,
        missing_since: row.missing_since,
        connection: row.label,
        provider: row.provider,
        // The statement above builds this shape.
        jobs: serde_json::from_value::<BTreeMap<String, StoredJob>>(row.jobs)
            .unwrap_or_default()
            .into_iter()
            .map(|(resource, job)| (resource, job.into()))
            .collect(),
    });
    Ok(row.collect())
}
