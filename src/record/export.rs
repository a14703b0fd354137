//! The history of series, in pages, newest first: for an export.

use crate::postgres::{Pool, PostgresError};
use crate::words::{DeviceId, TenantId};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

/// A series, and where its next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Its device.
    pub device: DeviceId,
    /// Its resource.
    pub resource: String,
    /// Only what is older; none: all.
    pub before: Option<DateTime<Utc>>,
}

/// A reading as it was kept.
#[derive(Debug, Serialize)]
pub struct ExportedReading {
    /// The device.
    pub device: i64,
    /// The resource.
    pub resource: String,
    /// When it was fetched.
    pub at: DateTime<Utc>,
    /// When the source saw it, where it tells.
    pub observed_at: Option<DateTime<Utc>>,
    /// Whether the device was online.
    pub online: bool,
    /// Nothing was known from then to this reading; none: all was.
    pub gap_since: Option<DateTime<Utc>>,
    /// Its values by name.
    pub values: Value,
}

/// Readings of a stretch of time in one row.
#[derive(Debug, Serialize)]
pub struct ExportedRollup {
    /// The device.
    pub device: i64,
    /// The resource.
    pub resource: String,
    /// `5m`, `1h` or `1day`.
    pub level: String,
    /// When the stretch begins.
    pub at: DateTime<Utc>,
    /// How many readings it has.
    pub readings: i64,
    /// For how long values were known, ms.
    pub known_ms: i64,
    /// For how long the device was offline, ms.
    pub offline_ms: i64,
    /// By name: `min`, `max`, `avg` of the readings, `time_avg` over the time, and `last`.
    pub values: Value,
}

/// At most `limit` readings of each series, in its order.
pub async fn readings(
    pool: &Pool,
    tenant: TenantId,
    series: &[Series],
    limit: i64,
) -> Result<Vec<ExportedReading>, PostgresError> {
    let (devices, resources, before) = columns(series);
    sqlx::query_as!(
        ExportedReading,
        r#"SELECT s.device AS "device!", s.resource AS "resource!", r.fetched_at AS "at!", r.observed_at,
                  r.online AS "online!", r.gap_since, r."values" AS "values!"
           FROM UNNEST($2::bigint[], $3::text[], $4::timestamptz[]) AS s (device, resource, before)
           CROSS JOIN LATERAL (
               SELECT * FROM readings r
               WHERE r.tenant_id = $1 AND r.device_id = s.device AND r.resource = s.resource
                 AND r.fetched_at < s.before
               ORDER BY r.fetched_at DESC LIMIT $5) r"#,
        tenant.0,
        &devices,
        &resources,
        &before,
        limit
    )
    .fetch_all(&pool.for_long_statements())
    .await
    .map_err(PostgresError::on("read the history"))
}

/// At most `limit` roll-ups of each series, longest stretches first.
pub async fn rollups(
    pool: &Pool,
    tenant: TenantId,
    series: &[Series],
    level: i16,
    limit: i64,
) -> Result<Vec<ExportedRollup>, PostgresError> {
    let (devices, resources, before) = columns(series);
    sqlx::query_as!(
        ExportedRollup,
        r#"SELECT s.device AS "device!", s.resource AS "resource!",
                  CASE $6::smallint WHEN 1 THEN '5m' WHEN 2 THEN '1h' ELSE '1day' END AS "level!", r.bucket AS "at!",
                  r.readings AS "readings!", r.known_ms AS "known_ms!", r.offline_ms AS "offline_ms!",
                  (SELECT coalesce(jsonb_object_agg(v.key, jsonb_strip_nulls(jsonb_build_object(
                       'min', v.value -> 3, 'max', v.value -> 4, 'last', v.value -> 7,
                       'avg', CASE WHEN v.value ->> 1 <> '0'
                                   THEN (v.value ->> 2)::float8 / (v.value ->> 1)::bigint END,
                       'time_avg', CASE WHEN v.value ->> 6 <> '0'
                                        THEN (v.value ->> 5)::float8 / (v.value ->> 6)::bigint END))), '{}')
                   FROM jsonb_each(r."values") v) AS "values!"
           FROM UNNEST($2::bigint[], $3::text[], $4::timestamptz[]) AS s (device, resource, before)
           CROSS JOIN LATERAL (
               SELECT * FROM rollups r
               WHERE r.tenant_id = $1 AND r.device_id = s.device AND r.resource = s.resource
                 AND r.level = $6 AND r.bucket < s.before
               ORDER BY r.bucket DESC LIMIT $5) r"#,
        tenant.0,
        &devices,
        &resources,
        &before,
        limit,
        level
    )
    .fetch_all(&pool.for_long_statements())
    .await
    .map_err(PostgresError::on("read the history"))
}

/// As columns; a series without a beginning begins after all.
fn columns(series: &[Series]) -> (Vec<i64>, Vec<String>, Vec<DateTime<Utc>>) {
    const AFTER_ALL_MS: i64 = 253_402_300_799_000; // 9999-12-31
    let after_all = DateTime::from_timestamp_millis(AFTER_ALL_MS).unwrap_or_default();
    (
        series.iter().map(|one| one.device.0).collect(),
        series.iter().map(|one| one.resource.clone()).collect(),
        series.iter().map(|one| one.before.unwrap_or(after_all)).collect(),
    )
}
