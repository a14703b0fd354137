//! The status of a device's jobs in Postgres: the preference, and what keeps a job from being scheduled.

use crate::postgres::{Pool, PostgresError};
use crate::words::{
    ConnectionId, ConnectionState, DeviceId, Interval, JobId, JobState, Latest, Priority, ProviderName,
    ResourceName, TenantId, UnixMs,
};

/// One job of a device.
#[derive(Debug, Clone)]
pub struct JobStatus {
    /// The job.
    pub job: JobId,
    /// Its device.
    pub device: DeviceId,
    /// The device's provider, by name.
    pub provider: ProviderName,
    /// The resource.
    pub resource: ResourceName,
    /// The requested interval.
    pub interval: Interval,
    /// The priority.
    pub priority: Priority,
    /// Active, paused or probing.
    pub state: JobState,
    /// When it entered the state, if that is known.
    pub state_at: Option<UnixMs>,
    /// Why it is probing, if it is.
    pub reason: Option<String>,
    /// The connection.
    pub connection: ConnectionId,
    /// The connection's label.
    pub label: String,
    /// The connection's state.
    pub connection_state: ConnectionState,
    /// Why it is not, if known.
    pub refusal: Option<String>,
    /// The last good reading, without its values, if there is one.
    pub latest: Option<Latest>,
    /// The current error, while the job fails.
    pub failing: Option<String>,
    /// What the last run came to, if it brought no reading.
    pub last_error: Option<String>,
}

/// The jobs of these devices, ordered by device and resource.
pub async fn of_devices(
    pool: &Pool,
    tenant: TenantId,
    devices: &[DeviceId],
) -> Result<Vec<JobStatus>, PostgresError> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT j.job_id AS "job_id!", j.device_id AS "device_id!", j.provider AS "provider!",
                  j.resource AS "resource!", j.interval_ms AS "interval_ms!",
                  j.priority AS "priority!", j.state AS "state!", j.state_at, j.state_reason, d.connection_id,
                  c.label, c.state AS "connection_state!", c.state_reason AS refusal, l.fetched_at AS "fetched_at?",
                  l.observed_at AS "observed_at?", l.changed_at AS "changed_at?", l.online AS "online?",
                  l.pace_ms AS "pace_ms?", l.stale_after_ms AS "stale_after_ms?",
                  CASE WHEN j.last_error_at > coalesce(l.fetched_at, '-infinity') THEN j.last_error END AS last_error,
                  CASE WHEN j.failing_since IS NOT NULL THEN coalesce(j.last_error, '') END AS failing
           -- One look at an index for each, however large or small Postgres takes the tables to be.
           FROM unnest($2::bigint[]) asked (device_id)
           CROSS JOIN LATERAL (SELECT * FROM devices d
                               WHERE d.tenant_id = $1 AND d.device_id = asked.device_id OFFSET 0) d
           CROSS JOIN LATERAL (SELECT * FROM jobs j
                               WHERE j.tenant_id = $1 AND j.device_id = asked.device_id OFFSET 0) j
           JOIN connections c ON c.tenant_id = $1 AND c.connection_id = d.connection_id
           LEFT JOIN LATERAL (SELECT * FROM latest l
                              WHERE l.tenant_id = $1 AND l.device_id = j.device_id AND l.resource = j.resource
                              OFFSET 0) l ON true
           ORDER BY j.device_id, j.resource"#,
        tenant.0,
        &devices.iter().map(|id| id.0).collect::<Vec<_>>()
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the jobs of devices"))?;
    Ok(rows.into_iter().filter_map(Row::status).collect())
}

struct Row {
    job_id: i64,
    device_id: i64,
    provider: String,
    resource: String,
    interval_ms: i64,
    priority: i16,
    state: String,
    state_at: Option<chrono::DateTime<chrono::Utc>>,
    state_reason: Option<String>,
    connection_id: i64,
    label: String,
    connection_state: String,
    refusal: Option<String>,
    fetched_at: Option<chrono::DateTime<chrono::Utc>>,
    observed_at: Option<chrono::DateTime<chrono::Utc>>,
    changed_at: Option<chrono::DateTime<chrono::Utc>>,
    online: Option<bool>,
    pace_ms: Option<i64>,
    stale_after_ms: Option<i64>,
    failing: Option<String>,
    last_error: Option<String>,
}

impl Row {
    /// Converts the row; none if it holds a value that the tables' checks exclude.
    fn status(self) -> Option<JobStatus> {
        let latest = self.fetched_at.map(|fetched_at| Latest {
            values: serde_json::Map::new(),
            observed_at: self.observed_at.map(UnixMs::from),
            fetched_at: fetched_at.into(),
            changed_at: self.changed_at.unwrap_or(fetched_at).into(),
            online: self.online.unwrap_or(true),
            pace_ms: self.pace_ms,
            stale_after_ms: self.stale_after_ms,
        });
        Some(JobStatus {
            job: JobId(self.job_id),
            device: DeviceId(self.device_id),
            provider: self.provider.parse().ok()?,
            resource: self.resource.parse().ok()?,
            interval: Interval::from_ms(self.interval_ms.try_into().ok()?)?,
            priority: Priority::from_class(self.priority.try_into().ok()?)?,
            state: JobState::from_name(&self.state)?,
            state_at: self.state_at.map(UnixMs::from),
            reason: self.state_reason,
            connection: ConnectionId(self.connection_id),
            label: self.label,
            connection_state: ConnectionState::from_name(&self.connection_state)?,
            refusal: self.refusal,
            latest,
            failing: self.failing,
            last_error: self.last_error,
        })
    }
}
