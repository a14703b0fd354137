//! What a user asks of one job.

use super::stored::{Asked, StoredJob};
use super::windows::{InForce, Windows};
use crate::postgres::{Pool, PostgresError};
use crate::words::{
    ConnectionId, DeviceId, Interval, Job, JobId, JobOrigin, JobState, Priority, ProviderName, ResourceName,
    TenantId, UnixMs,
};

/// A change to a job's preference. Absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobPatch {
    /// The interval; with windows, the one outside of them.
    pub interval: Option<Interval>,
    /// Intervals by time of day, which replace those that there are; none in it: there are none any more.
    pub windows: Option<Option<Windows>>,
    /// The priority.
    pub priority: Option<Priority>,
    /// Whether the job is paused.
    pub paused: Option<bool>,
}

impl JobPatch {
    /// Makes the change, as [`set`] does it in Postgres.
    pub fn apply(&self, stored: &mut StoredJob, now: UnixMs) {
        let job = &mut stored.job;
        match (&self.windows, &mut stored.windows) {
            (Some(Some(windows)), _) => job.interval = windows.interval_at(now),
            (Some(None), had) => {
                let base = had.take().map(|windows| windows.base);
                job.interval = self.interval.or(base).unwrap_or(job.interval);
            }
            (None, Some(windows)) => {
                windows.base = self.interval.unwrap_or(windows.base);
                job.interval = windows.interval_at(now);
            }
            (None, None) => job.interval = self.interval.unwrap_or(job.interval),
        }
        if let Some(windows) = &self.windows {
            stored.windows.clone_from(windows);
        }
        if self.is_own() {
            stored.origin = JobOrigin::Device;
        }
        stored.priority_asked = self.priority.unwrap_or(stored.priority_asked);
        job.priority = stored.priority_asked;
        job.state = match self.paused {
            Some(true) => JobState::Paused,
            None if job.state == JobState::Paused => JobState::Paused,
            _ => JobState::Active,
        };
    }
}

impl JobPatch {
    /// Whether it says how often to refresh, and so stands at the device from now on.
    pub(super) fn is_own(&self) -> bool {
        self.interval.is_some() || self.priority.is_some() || self.windows.is_some()
    }

    /// The shortest interval that the change names.
    pub fn least_interval(&self) -> Option<Interval> {
        let windows = self.windows.iter().flatten().flat_map(|windows| windows.timetable.windows());
        windows.map(|window| window.interval).chain(self.interval).min()
    }

    /// The interval to be in force, if the change names one.
    pub(super) fn in_force(&self, now: UnixMs) -> (Option<Interval>, Option<InForce>) {
        let windows = self.windows.as_ref().and_then(Option::as_ref);
        let in_force = windows.map(|windows| windows.at(now));
        (in_force.as_ref().map(|it| it.interval).or(self.interval), in_force)
    }
}

/// What a job must be for a change to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// There is one.
    Exists,
    /// It has one of these versions.
    Versions(Vec<i64>),
}

/// A device, and where it is.
#[derive(Debug, Clone)]
pub struct DeviceRef {
    /// The device.
    pub device: DeviceId,
    /// The provider's name.
    pub provider: String,
    /// Its connection.
    pub connection: ConnectionId,
    /// Its home or site; empty for none.
    pub group: String,
    /// Whether its connection is active.
    pub usable: bool,
    /// The weight of its tenant's lanes.
    pub weight: u32,
}

impl DeviceRef {
    /// A job that the device does not have yet, as it would be stored.
    pub fn new_job(
        &self,
        tenant: TenantId,
        provider: &ProviderName,
        resource: &ResourceName,
        interval: Interval,
        now: UnixMs,
    ) -> StoredJob {
        let job = Job {
            id: JobId(0),
            tenant,
            provider: provider.clone(),
            connection: self.connection,
            device: self.device,
            group: self.group.clone(),
            resource: resource.clone(),
            interval,
            priority: Priority::Normal,
            state: JobState::Active,
            version: 0,
        };
        let priority_asked = job.priority;
        let (usable, weight) = (self.usable, self.weight);
        let (windows, origin) = (None, JobOrigin::Device);
        StoredJob { job, priority_asked, windows, origin, last_run: None, created_at: now, usable, weight }
    }
}

/// The device and where it is; none if the tenant has no such device.
pub async fn device_of(
    pool: &Pool,
    tenant: TenantId,
    device: DeviceId,
) -> Result<Option<DeviceRef>, PostgresError> {
    let row = sqlx::query!(
        r#"SELECT c.provider, d.connection_id, d.group_key, c.state = 'active' AS "usable!", t.weight
         FROM devices d JOIN connections c USING (tenant_id, connection_id) JOIN tenants t USING (tenant_id)
         WHERE d.tenant_id = $1 AND d.device_id = $2"#,
        tenant.0,
        device.0
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("find the device"))?;
    Ok(row.map(|row| DeviceRef {
        device,
        provider: row.provider,
        connection: ConnectionId(row.connection_id),
        group: row.group_key,
        usable: row.usable,
        weight: row.weight.max(1) as u32,
    }))
}

/// Stores a preference together with its outbox row; creates the job, with the default interval unless the change names
/// one, if the device has none for the resource.
///
/// Returns the job as stored; none if it was not as `precondition` says, and nothing was changed. A probing job becomes
/// active, and is tried at once.
pub async fn set(
    pool: &Pool,
    tenant: TenantId,
    subject: &DeviceRef,
    (resource, default_interval): (&ResourceName, Interval),
    patch: &JobPatch,
    precondition: Option<&Precondition>,
    now: UnixMs,
) -> Result<Option<Asked>, PostgresError> {
    let (interval, in_force) = patch.in_force(now);
    let interval_ms = interval.map(|i| i.as_ms() as i64);
    let priority = patch.priority.map(|p| i16::from(p.class()));
    let versions = match precondition {
        Some(Precondition::Versions(versions)) => Some(versions.as_slice()),
        Some(Precondition::Exists) | None => None,
    };
    let row = sqlx::query_as!(
        Stored,
        "WITH job AS (
             INSERT INTO jobs AS j (tenant_id, device_id, resource, provider, interval_ms, priority, state,
                                    base_ms, windows, in_window, turns_at, origin)
             SELECT $1, $2, $3, $4, coalesce($5::bigint, $8::bigint), coalesce($6::smallint, 3::smallint),
                    CASE WHEN $7::boolean THEN 'paused' ELSE 'active' END,
                    $12::bigint, $13::jsonb, $14::boolean, $15::timestamptz,
                    CASE WHEN $16::boolean THEN 'device' ELSE 'provider' END
             WHERE NOT $9::boolean OR EXISTS (
                 SELECT FROM jobs WHERE tenant_id = $1 AND device_id = $2 AND resource = $3)
             ON CONFLICT (tenant_id, device_id, resource) DO UPDATE SET
                 interval_ms = CASE WHEN $11::boolean THEN coalesce($5, j.base_ms, j.interval_ms)
                                    WHEN j.in_window THEN j.interval_ms
                                    ELSE coalesce($5, j.interval_ms) END,
                 base_ms = CASE WHEN $11 THEN $12 WHEN j.windows IS NOT NULL THEN coalesce($5, j.base_ms) END,
                 windows = CASE WHEN $11 THEN $13 ELSE j.windows END,
                 in_window = CASE WHEN $11 THEN $14 ELSE j.in_window END,
                 turns_at = CASE WHEN $11 THEN $15 ELSE j.turns_at END,
                 origin = CASE WHEN $16::boolean THEN 'device' ELSE j.origin END,
                 priority = coalesce($6, j.priority),
                 state = CASE WHEN $7 THEN 'paused'
                              WHEN $7 IS NULL AND j.state = 'paused' THEN 'paused'
                              ELSE 'active' END,
                 state_reason = NULL,
                 state_at = now(),
                 version = j.version + 1
             WHERE $10::bigint[] IS NULL OR j.version = ANY($10)
             RETURNING job_id, provider, interval_ms, priority, state, version, base_ms, windows, origin),
         notified AS (INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM job)
         SELECT job_id, interval_ms, priority, state, version, base_ms, windows, origin,
                pg_notify('paceline_outbox', '')::text AS notified
         FROM job",
        tenant.0,
        subject.device.0,
        resource.as_str(),
        subject.provider,
        interval_ms,
        priority,
        patch.paused,
        default_interval.as_ms() as i64,
        precondition.is_some(),
        versions,
        patch.windows.is_some(),
        in_force.as_ref().map(|it| it.base_ms),
        in_force.as_ref().map(|it| it.json.clone()),
        in_force.as_ref().is_some_and(|it| it.in_window),
        in_force.as_ref().map(|it| it.turns_at.to_datetime()),
        patch.is_own()
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("store the preference"))?;
    let asked = |row: Stored| {
        let windows = Windows::read(row.base_ms, row.windows.as_ref());
        let origin = JobOrigin::from_name(&row.origin)?;
        let job = Job {
            id: JobId(row.job_id),
            tenant,
            provider: subject.provider.parse().ok()?,
            connection: subject.connection,
            device: subject.device,
            group: subject.group.clone(),
            resource: resource.clone(),
            interval: Interval::from_ms(row.interval_ms.try_into().ok()?)?,
            priority: Priority::from_class(row.priority.try_into().ok()?)?,
            state: JobState::from_name(&row.state)?,
            version: row.version,
        };
        Some(Asked { job, windows, origin })
    };
    Ok(row.and_then(asked))
}

/// A job as [`set`] stored it.
struct Stored {
    job_id: i64,
    interval_ms: i64,
    priority: i16,
    state: String,
    version: i64,
    base_ms: Option<i64>,
    windows: Option<serde_json::Value>,
    origin: String,
    #[expect(dead_code, reason = "the statement notifies by it")]
    notified: Option<String>,
}
