//! Roll-ups: readings of a stretch of time in one row. Written in batches of series, each with how far it came.

use super::series::{object, tallies};
use crate::postgres::{self, Pool, PostgresError};
use crate::words::series::{Level, Stretch};
use crate::words::{DeviceId, ResourceName, TenantId, UnixMs};
use chrono::NaiveDate;

/// A resource of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesKey {
    /// Whose.
    pub tenant: i64,
    /// The device.
    pub device: i64,
    /// The resource.
    pub resource: String,
}

impl SeriesKey {
    /// The key of this series.
    pub fn of(tenant: TenantId, device: DeviceId, resource: &ResourceName) -> Self {
        Self { tenant: tenant.0, device: device.0, resource: resource.to_string() }
    }
}

/// How far a level is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// All before this is rolled up.
    pub until: UnixMs,
    /// The end of what is under way; `until`: nothing is.
    pub ends: UnixMs,
    /// The last series of it that is done.
    pub done: SeriesKey,
}

/// A stretch of a series that begins at `bucket`.
#[derive(Debug, Clone)]
pub struct Rollup {
    /// The series, by its place in the batch.
    pub series: usize,
    /// When the stretch begins.
    pub bucket: UnixMs,
    /// What is known of it.
    pub stretch: Stretch,
}

/// How far the level is; none if it was never begun.
pub async fn progress(pool: &Pool, level: Level) -> Result<Option<Progress>, PostgresError> {
    let row = sqlx::query!(
        "SELECT until, ends, tenant_id, device_id, resource FROM rollup_progress WHERE level = $1",
        level.number()
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("read how far roll-ups are"))?;
    Ok(row.map(|row| Progress {
        until: row.until.into(),
        ends: row.ends.into(),
        done: SeriesKey { tenant: row.tenant_id, device: row.device_id, resource: row.resource },
    }))
}

/// Sets how far the level is.
pub async fn set_progress(pool: &Pool, level: Level, to: &Progress) -> Result<(), PostgresError> {
    write(pool, level, &[], &[], to).await
}

/// Creates the partitions that roll-ups of this day need.
pub async fn ensure(pool: &Pool, day: NaiveDate) -> Result<(), PostgresError> {
    let failed = || PostgresError::on_ddl("create the roll-ups' partitions of", &day.to_string());
    let mut ddl = postgres::begin_ddl(pool).await?;
    sqlx::query!("SELECT ensure_rollups($1)", day).execute(&mut ddl).await.map_err(failed())?;
    ddl.commit().await.map_err(failed())
}

/// The next series, in the order of their keys.
pub async fn series_after(
    pool: &Pool,
    done: &SeriesKey,
    limit: i64,
) -> Result<Vec<SeriesKey>, PostgresError> {
    sqlx::query_as!(
        SeriesKey,
        "-- All tenants: the keeper rolls up the history of all.
         SELECT tenant_id AS tenant, device_id AS device, resource FROM latest
         WHERE (tenant_id, device_id, resource) > ($1, $2, $3)
         ORDER BY tenant_id, device_id, resource LIMIT $4",
        done.tenant,
        done.device,
        done.resource,
        limit
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("list what to roll up"))
}

/// What this level is made of: stretches of these series in this time, each series' in the order of time, with the
/// series' place in the batch.
pub async fn sources(
    pool: &Pool,
    level: Level,
    of: &[SeriesKey],
    from: UnixMs,
    to: UnixMs,
) -> Result<Vec<(usize, Stretch)>, PostgresError> {
    match level.source() {
        None => readings(pool, of, from, to).await,
        Some(source) => rollups(pool, source, of, from, to).await,
    }
}

async fn readings(
    pool: &Pool,
    of: &[SeriesKey],
    from: UnixMs,
    to: UnixMs,
) -> Result<Vec<(usize, Stretch)>, PostgresError> {
    let (tenants, devices, resources) = columns(of);
    let rows = sqlx::query!(
        r#"SELECT k.n AS "n!", r.fetched_at AS "fetched_at!", r.gap_since AS "gap_since?", r.online AS "online!",
                  r."values" AS "values!"
           FROM UNNEST($1::bigint[], $2::bigint[], $3::text[]) WITH ORDINALITY AS k (tenant_id, device_id, resource, n)
           CROSS JOIN LATERAL (
               SELECT r.fetched_at, r.gap_since, r.online, r."values" FROM readings r
               WHERE r.tenant_id = k.tenant_id AND r.device_id = k.device_id AND r.resource = k.resource
                 AND r.fetched_at >= $4 AND r.fetched_at < $5
               ORDER BY r.fetched_at) r"#,
        &tenants,
        &devices,
        &resources,
        from.to_datetime(),
        to.to_datetime()
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read what to roll up"))?;
    let stretch = |at: chrono::DateTime<_>, gap: Option<chrono::DateTime<_>>, online, values| {
        Stretch::of(at.into(), gap.map(UnixMs::from), online, object(values))
    };
    let rows = rows.into_iter();
    Ok(rows
        .map(|row| (place(row.n), stretch(row.fetched_at, row.gap_since, row.online, row.values)))
        .collect())
}

async fn rollups(
    pool: &Pool,
    level: Level,
    of: &[SeriesKey],
    from: UnixMs,
    to: UnixMs,
) -> Result<Vec<(usize, Stretch)>, PostgresError> {
    let (tenants, devices, resources) = columns(of);
    let rows = sqlx::query!(
        r#"SELECT k.n AS "n!", r.first_at AS "first_at!", r.gap_since AS "gap_since?", r.last_at AS "last_at!",
                  r.online AS "online!", r.readings AS "readings!", r.known_ms AS "known_ms!",
                  r.offline_ms AS "offline_ms!", r."values" AS "values!"
           FROM UNNEST($1::bigint[], $2::bigint[], $3::text[]) WITH ORDINALITY AS k (tenant_id, device_id, resource, n)
           CROSS JOIN LATERAL (
               SELECT r.* FROM rollups r
               WHERE r.tenant_id = k.tenant_id AND r.device_id = k.device_id AND r.resource = k.resource
                 AND r.level = $6 AND r.bucket >= $4 AND r.bucket < $5
               ORDER BY r.bucket) r"#,
        &tenants,
        &devices,
        &resources,
        from.to_datetime(),
        to.to_datetime(),
        level.number()
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read what to roll up"))?;
    let rows = rows.into_iter().map(|row| {
        let stretch = Stretch {
            first_at: row.first_at.into(),
            gap_since: row.gap_since.map(UnixMs::from),
            last_at: row.last_at.into(),
            online: row.online,
            readings: row.readings.unsigned_abs(),
            known_ms: row.known_ms,
            offline_ms: row.offline_ms,
            values: tallies(row.values),
        };
        (place(row.n), stretch)
    });
    Ok(rows.collect())
}

/// Ordinality counts from 1.
fn place(n: i64) -> usize {
    usize::try_from(n - 1).unwrap_or(0)
}

fn columns(of: &[SeriesKey]) -> (Vec<i64>, Vec<i64>, Vec<String>) {
    let resources = of.iter().map(|key| key.resource.clone()).collect();
    (of.iter().map(|key| key.tenant).collect(), of.iter().map(|key| key.device).collect(), resources)
}

/// Writes roll-ups, in place of those that are there, and how far the level is now: both or neither.
pub async fn write(
    pool: &Pool,
    level: Level,
    of: &[SeriesKey],
    rollups: &[Rollup],
    progress: &Progress,
) -> Result<(), PostgresError> {
    let keys: Vec<SeriesKey> = rollups.iter().filter_map(|rollup| of.get(rollup.series).cloned()).collect();
    let (tenants, devices, resources) = columns(&keys);
    let stretches = || rollups.iter().map(|rollup| &rollup.stretch);
    sqlx::query!(
        r#"WITH noted AS (
               INSERT INTO rollup_progress (level, until, ends, tenant_id, device_id, resource)
               VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (level) DO UPDATE SET until = excluded.until, ends = excluded.ends,
                   tenant_id = excluded.tenant_id, device_id = excluded.device_id, resource = excluded.resource)
           INSERT INTO rollups (tenant_id, device_id, resource, bucket, first_at, gap_since, last_at, online, readings,
                                known_ms, offline_ms, "values", level)
           SELECT t.*, $1
           FROM UNNEST($7::bigint[], $8::bigint[], $9::text[], $10::timestamptz[], $11::timestamptz[],
                       $12::timestamptz[], $13::timestamptz[], $14::boolean[], $15::bigint[], $16::bigint[],
                       $17::bigint[], $18::jsonb[])
               AS t (tenant_id, device_id, resource, bucket, first_at, gap_since, last_at, online, readings,
                     known_ms, offline_ms, "values")
           ON CONFLICT (tenant_id, device_id, resource, level, bucket) DO UPDATE SET
               first_at = excluded.first_at, gap_since = excluded.gap_since, last_at = excluded.last_at,
               online = excluded.online, readings = excluded.readings, known_ms = excluded.known_ms,
               offline_ms = excluded.offline_ms, "values" = excluded."values""#,
        level.number(),
        progress.until.to_datetime(),
        progress.ends.to_datetime(),
        progress.done.tenant,
        progress.done.device,
        progress.done.resource,
        &tenants,
        &devices,
        &resources,
        &rollups.iter().map(|rollup| rollup.bucket.to_datetime()).collect::<Vec<_>>(),
        &stretches().map(|one| one.first_at.to_datetime()).collect::<Vec<_>>(),
        &stretches().map(|one| one.gap_since.map(UnixMs::to_datetime)).collect::<Vec<_>>() as &[Option<_>],
        &stretches().map(|one| one.last_at.to_datetime()).collect::<Vec<_>>(),
        &stretches().map(|one| one.online).collect::<Vec<_>>(),
        &stretches().map(|one| one.readings.cast_signed()).collect::<Vec<_>>(),
        &stretches().map(|one| one.known_ms).collect::<Vec<_>>(),
        &stretches().map(|one| one.offline_ms).collect::<Vec<_>>(),
        &stretches().map(|one| serde_json::json!(one.values)).collect::<Vec<_>>(),
    )
    .execute(pool)
    .await
    .map(drop)
    .map_err(PostgresError::on("write the roll-ups"))
}
