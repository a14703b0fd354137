//! Reads of the history: what stood before a time, the readings or roll-ups in it, and what came next.

use crate::postgres::{Pool, PostgresError};
use crate::words::series::{Level, Stretch, Tally};
use crate::words::{DeviceId, ResourceName, TenantId, UnixMs};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A device whose history is asked for, and what stands now of the resource.
#[derive(Debug, Clone)]
pub struct Head {
    /// The device.
    pub device: DeviceId,
    /// Its provider.
    pub provider: String,
    /// What stands; none before the first reading.
    pub standing: Option<Standing>,
}

/// What stands of a resource now.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The last change, as a reading.
    pub reading: Stretch,
    /// Until when it is known to stand.
    pub seen_at: UnixMs,
    /// For how long it is known after that, ms.
    pub stands_ms: i64,
}

/// Until a new job's second answer, and of what was written before this was stored.
const STANDS_MS: i64 = 60_000;

/// Those of these devices that the tenant has.
pub async fn heads(
    pool: &Pool,
    tenant: TenantId,
    devices: &[DeviceId],
    resource: &ResourceName,
) -> Result<Vec<Head>, PostgresError> {
    let rows = sqlx::query!(
        r#"SELECT d.device_id, c.provider, l.changed_at AS "changed_at?", l.online AS "online?",
                  l."values" AS "values?", coalesce(l.seen_at, l.fetched_at) AS seen_at, l.stands_ms
           FROM devices d
           JOIN connections c USING (tenant_id, connection_id)
           LEFT JOIN latest l
               ON l.tenant_id = d.tenant_id AND l.device_id = d.device_id AND l.resource = $3
           WHERE d.tenant_id = $1 AND d.device_id = ANY($2)"#,
        tenant.0,
        &devices.iter().map(|device| device.0).collect::<Vec<_>>(),
        resource.as_str()
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read what stands"))?;
    let head = |(device, provider, standing)| Head { device: DeviceId(device), provider, standing };
    let rows = rows.into_iter().map(|row| {
        let standing = row.changed_at.zip(row.online).zip(row.values).zip(row.seen_at).map(
            |(((changed_at, online), values), seen_at)| Standing {
                reading: Stretch::of(changed_at.into(), None, online, object(values)),
                seen_at: seen_at.into(),
                stands_ms: row.stands_ms.unwrap_or(STANDS_MS),
            },
        );
        head((row.device_id, row.provider, standing))
    });
    Ok(rows.collect())
}

/// Which part of the history to read.
#[derive(Debug, Clone)]
pub struct Part {
    /// Whose.
    pub tenant: TenantId,
    /// Of these devices.
    pub devices: Vec<DeviceId>,
    /// This resource.
    pub resource: ResourceName,
    /// Only this value.
    pub value: Option<String>,
    /// Roll-ups of this level; none: readings.
    pub level: Option<Level>,
    /// From here on readings, since they are not rolled up yet.
    pub rolled_until: UnixMs,
    /// The beginning.
    pub from: UnixMs,
    /// The end, which is not of it.
    pub to: UnixMs,
    /// At most so many readings of each device.
    pub limit: Option<i64>,
}

/// A stretch of a series, and where it lies.
#[derive(Debug, Clone)]
pub struct Found {
    /// The device.
    pub device: DeviceId,
    /// Where.
    pub place: Place,
    /// The stretch.
    pub stretch: Stretch,
    /// When the source saw it; readings only.
    pub observed_at: Option<UnixMs>,
}

/// Where a stretch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The last before the part.
    Before,
    /// In it.
    Within,
    /// The first after it.
    After,
}

/// Reads a part of the history: each device's stretches in the order of time.
pub async fn read(pool: &Pool, part: &Part, mut each: impl FnMut(Found)) -> Result<(), PostgresError> {
    let mut rows = sqlx::query_as!(
        Row,
        r#"SELECT d.id AS "device_id!", s.place AS "place!", s.first_at AS "first_at!", s.gap_since AS "gap_since?",
                  s.last_at AS "last_at!", s.online AS "online!", s.readings AS "readings?", s.known_ms AS "known_ms!",
                  s.offline_ms AS "offline_ms!", s.observed_at AS "observed_at?",
                  CASE WHEN $8::text IS NULL THEN s."values"
                       ELSE jsonb_build_object($8, s."values" -> $8) END AS "values!"
           FROM UNNEST($2::bigint[]) AS d (id)
           CROSS JOIN LATERAL (
               (SELECT 0 AS place, first_at, gap_since, last_at, online, readings, known_ms, offline_ms,
                       NULL::timestamptz AS observed_at, "values"
                FROM rollups r
                WHERE r.tenant_id = $1 AND r.device_id = d.id AND r.resource = $3 AND r.level = $4::smallint
                  AND r.bucket < least($5::timestamptz, $6::timestamptz)
                ORDER BY r.bucket DESC LIMIT 1)
               UNION ALL
               (SELECT 1, first_at, gap_since, last_at, online, readings, known_ms, offline_ms, NULL, "values"
                FROM rollups r
                WHERE r.tenant_id = $1 AND r.device_id = d.id AND r.resource = $3 AND r.level = $4
                  AND r.bucket >= $5 AND r.bucket < least($6, $7::timestamptz)
                ORDER BY r.bucket)
               UNION ALL
               (SELECT 0, fetched_at, gap_since, fetched_at, online, NULL, 0, 0, observed_at, "values"
                FROM readings r
                WHERE r.tenant_id = $1 AND r.device_id = d.id AND r.resource = $3
                  AND r.fetched_at >= $6 AND r.fetched_at < $5
                ORDER BY r.fetched_at DESC LIMIT 1)
               UNION ALL
               (SELECT 1, fetched_at, gap_since, fetched_at, online, NULL, 0, 0, observed_at, "values"
                FROM readings r
                WHERE r.tenant_id = $1 AND r.device_id = d.id AND r.resource = $3
                  AND r.fetched_at >= greatest($5, $6) AND r.fetched_at < $7
                ORDER BY r.fetched_at LIMIT $9)
               UNION ALL
               (SELECT 2, first_at, gap_since, last_at, online, readings, known_ms, offline_ms, NULL, "values"
                FROM rollups r
                WHERE r.tenant_id = $1 AND r.device_id = d.id AND r.resource = $3 AND r.level = $4
                  AND r.bucket >= $7 AND r.bucket < $6
                ORDER BY r.bucket LIMIT 1)
               UNION ALL
               (SELECT 2, fetched_at, gap_since, fetched_at, online, NULL, 0, 0, observed_at, "values"
                FROM readings r
                WHERE r.tenant_id = $1 AND r.device_id = d.id AND r.resource = $3
                  AND r.fetched_at >= greatest($6, $7)
                ORDER BY r.fetched_at LIMIT 1)) s"#,
        part.tenant.0,
        &part.devices.iter().map(|device| device.0).collect::<Vec<_>>(),
        part.resource.as_str(),
        part.level.map_or(0, Level::number),
        part.from.to_datetime(),
        part.rolled_until.to_datetime(),
        part.to.to_datetime(),
        part.value,
        part.limit
    )
    .fetch(pool);
    let failed = || PostgresError::on("read the history");
    while let Some(row) = rows.try_next().await.map_err(failed())? {
        each(row.found());
    }
    Ok(())
}

struct Row {
    device_id: i64,
    place: i32,
    first_at: DateTime<Utc>,
    gap_since: Option<DateTime<Utc>>,
    last_at: DateTime<Utc>,
    online: bool,
    /// None: a single reading.
    readings: Option<i64>,
    known_ms: i64,
    offline_ms: i64,
    observed_at: Option<DateTime<Utc>>,
    values: Value,
}

impl Row {
    fn found(self) -> Found {
        let gap_since = self.gap_since.map(UnixMs::from);
        let stretch = match self.readings {
            None => Stretch::of(self.first_at.into(), gap_since, self.online, object(self.values)),
            Some(readings) => Stretch {
                first_at: self.first_at.into(),
                gap_since,
                last_at: self.last_at.into(),
                online: self.online,
                readings: readings.unsigned_abs(),
                known_ms: self.known_ms,
                offline_ms: self.offline_ms,
                values: tallies(self.values),
            },
        };
        let place = match self.place {
            0 => Place::Before,
            1 => Place::Within,
            _ => Place::After,
        };
        let observed_at = self.observed_at.map(UnixMs::from);
        Found { device: DeviceId(self.device_id), place, stretch, observed_at }
    }
}

/// Values of a reading.
pub(super) fn object(values: Value) -> Map<String, Value> {
    match values {
        Value::Object(values) => values,
        _ => Map::new(),
    }
}

/// Values of a roll-up. What cannot be read is not known.
pub(super) fn tallies(values: Value) -> BTreeMap<String, Tally> {
    let values = object(values).into_iter();
    values.filter_map(|(name, tally)| Some((name, serde_json::from_value(tally).ok()?))).collect()
}
