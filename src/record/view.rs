//! What readers see: devices, their jobs and the last good values, many in one statement.

use crate::postgres::{Pool, PostgresError};
use crate::words::{DeviceId, JobState, Latest, Priority, TenantId, UnixMs};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// A device without its values: what the cache holds of it in the field `_`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceMeta {
    /// What its owner calls it.
    pub name: String,
    /// The provider's id of it.
    pub external_id: String,
    /// Its provider, by name.
    pub provider: String,
    /// Its connection, by label.
    pub connection: String,
    /// Its home or site; empty for none.
    pub group: String,
    /// Its model; empty if unknown.
    pub model: String,
    /// Since when the cloud's own list of devices leaves it out.
    pub missing_since: Option<UnixMs>,
    /// Its jobs by resource.
    pub jobs: BTreeMap<String, JobMeta>,
}

/// A job of a device.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JobMeta {
    /// Its interval, ms.
    pub interval_ms: u64,
    /// Its priority.
    pub priority: Priority,
    /// Whether it is scheduled.
    pub state: JobState,
}

/// A device as Postgres has it.
#[derive(Debug, Clone)]
pub struct DeviceSnapshot {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its metadata and jobs.
    pub meta: DeviceMeta,
    /// The sum of its jobs' versions: grows with every preference.
    pub version: i64,
    /// Resource → the fence under which its value was written, and the value.
    pub latest: HashMap<String, (i64, Latest)>,
}

/// These devices; of this tenant, or whoever's they are.
pub async fn devices(
    pool: &Pool,
    tenant: Option<TenantId>,
    ids: &[DeviceId],
) -> Result<HashMap<DeviceId, DeviceSnapshot>, PostgresError> {
    let rows = sqlx::query_as!(
        Row,
        r#"-- All tenants: of any, if none is given: calls that end together.
           SELECT d.tenant_id, d.device_id, d.name, d.external_id, d.group_key, d.model, d.missing_since,
                  c.provider, c.label,
                  j.resource AS "resource?", j.interval_ms AS "interval_ms?", j.priority AS "priority?",
                  j.state AS "state?", j.version AS "version?",
                  l.observed_at AS "observed_at?", l.fetched_at AS "fetched_at?", l.changed_at AS "changed_at?",
                  l.online AS "online?", l."values" AS "values?", l.fence AS "fence?",
                  l.pace_ms AS "pace_ms?", l.stale_after_ms AS "stale_after_ms?"
           FROM devices d
           JOIN connections c USING (tenant_id, connection_id)
           LEFT JOIN jobs j USING (tenant_id, device_id)
           LEFT JOIN latest l USING (tenant_id, device_id, resource)
           WHERE d.device_id = ANY($2) AND ($1::bigint IS NULL OR d.tenant_id = $1)"#,
        tenant.map(|tenant| tenant.0),
        &ids.iter().map(|id| id.0).collect::<Vec<_>>()
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the devices"))?;
    let mut found: HashMap<DeviceId, DeviceSnapshot> = HashMap::with_capacity(ids.len());
    for row in rows {
        let snapshot = found.entry(DeviceId(row.device_id)).or_insert_with(|| row.without_jobs());
        snapshot.add(row);
    }
    Ok(found)
}

/// One job of a device, or the device alone if it has none.
struct Row {
    tenant_id: i64,
    device_id: i64,
    name: String,
    external_id: String,
    group_key: String,
    model: String,
    missing_since: Option<chrono::DateTime<chrono::Utc>>,
    provider: String,
    label: String,
    resource: Option<String>,
    interval_ms: Option<i64>,
    priority: Option<i16>,
    state: Option<String>,
    version: Option<i64>,
    observed_at: Option<chrono::DateTime<chrono::Utc>>,
    fetched_at: Option<chrono::DateTime<chrono::Utc>>,
    changed_at: Option<chrono::DateTime<chrono::Utc>>,
    online: Option<bool>,
    values: Option<serde_json::Value>,
    fence: Option<i64>,
    pace_ms: Option<i64>,
    stale_after_ms: Option<i64>,
}

impl Row {
    fn without_jobs(&self) -> DeviceSnapshot {
        let meta = DeviceMeta {
            name: self.name.clone(),
            external_id: self.external_id.clone(),
            provider: self.provider.clone(),
            connection: self.label.clone(),
            group: self.group_key.clone(),
            model: self.model.clone(),
            missing_since: self.missing_since.map(UnixMs::from),
            jobs: BTreeMap::new(),
        };
        DeviceSnapshot { tenant: TenantId(self.tenant_id), meta, version: 0, latest: HashMap::new() }
    }

    fn job(&self) -> Option<JobMeta> {
        Some(JobMeta {
            interval_ms: self.interval_ms?.try_into().ok()?,
            priority: Priority::from_class(self.priority?.try_into().ok()?)?,
            state: JobState::from_name(self.state.as_deref()?)?,
        })
    }

    fn latest(&mut self) -> Option<(i64, Latest)> {
        let values = match self.values.take()? {
            serde_json::Value::Object(values) => values,
            _ => serde_json::Map::new(),
        };
        let latest = Latest {
            values,
            observed_at: self.observed_at.map(UnixMs::from),
            fetched_at: self.fetched_at?.into(),
            changed_at: self.changed_at?.into(),
            online: self.online?,
            pace_ms: self.pace_ms,
            stale_after_ms: self.stale_after_ms,
        };
        Some((self.fence?, latest))
    }
}

impl DeviceSnapshot {
    fn add(&mut self, mut row: Row) {
        let (Some(job), latest) = (row.job(), row.latest()) else { return };
        let Some(resource) = row.resource else { return };
        self.version += row.version.unwrap_or(0);
        self.meta.jobs.insert(resource.clone(), job);
        self.latest.extend(latest.map(|latest| (resource, latest)));
    }
}
