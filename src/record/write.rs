//! The last good value of each job, and a row of history where it changed: one statement for many calls.

use crate::postgres::{Pool, PostgresError};
use crate::words::{
    CallId, DeviceId, Interval, JobId, Latest, Record, ResourceName, TenantId, UnixMs, Validator,
};
use std::collections::HashMap;

/// What one call found out about one job.
#[derive(Debug, Clone)]
pub struct Observation {
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// Its resource.
    pub resource: ResourceName,
    /// The job.
    pub job: JobId,
    /// The call, as fence.
    pub call: CallId,
    /// When the answer came.
    pub fetched_at: UnixMs,
    /// The record; `None`: nothing new, the value stays, and its age grows on if the device is offline.
    pub record: Option<Record>,
    /// Whether the answer had data of the device, or called it unchanged; if not, the value's age grows on.
    pub has_data: bool,
    /// Whether the device is online; `None`: unchanged, and so is the validator.
    pub online: Option<bool>,
    /// For the next conditional request.
    pub validator: Option<Validator>,
    /// The definition's `stale_after`.
    pub stale_after: Option<Interval>,
    /// The definition's `offline_after`: what is unchanged, or has no data, and is older than this is offline.
    pub offline_after: Option<Interval>,
    /// The definition's `older_replaces`.
    pub older_replaces: bool,
}

/// A row of `latest` as it is now.
#[derive(Debug, Clone)]
pub struct Written {
    /// The tenant.
    pub tenant: TenantId,
    /// The device.
    pub device: DeviceId,
    /// Its resource.
    pub resource: String,
    /// The fence under which it was written.
    pub fence: i64,
    /// The value.
    pub latest: Latest,
}

/// Writes observations. Idempotent.
///
/// The fence rejects those of a call older than the one that wrote the current value: they are neither written nor
/// returned. An observation that is older than the one that stands does not replace it: only the fetch time changes. A
/// device that went offline or came back adds a row to the history and an event. So does the first answer after a gap,
/// without the event: answers that come as they should tell that what stands is unchanged, and add nothing.
pub async fn write(pool: &Pool, observations: &[Observation]) -> Result<Vec<Written>, PostgresError> {
    let (fresh, touched) = newest(observations);
    let mut written = Vec::with_capacity(observations.len());
    if !fresh.is_empty() {
        written.extend(write_fresh(pool, &fresh).await?);
    }
    if !touched.is_empty() {
        written.extend(write_touched(pool, &touched).await?);
    }
    Ok(written)
}

/// One statement may hit a row only once: the newest observation of each job.
fn newest(observations: &[Observation]) -> (Vec<&Observation>, Vec<&Observation>) {
    let mut by_job: HashMap<JobId, &Observation> = HashMap::with_capacity(observations.len());
    for o in observations {
        by_job.entry(o.job).and_modify(|old| *old = if o.call > old.call { o } else { *old }).or_insert(o);
    }
    let mut all: Vec<_> = by_job.into_values().collect();
    // In key order, so that batches of two workers cannot deadlock.
    all.sort_by_key(|o| (o.tenant, o.device, o.job));
    all.into_iter().partition(|o| o.record.is_some())
}

async fn write_fresh(pool: &Pool, fresh: &[&Observation]) -> Result<Vec<Written>, PostgresError> {
    let records: Vec<&Record> = fresh.iter().filter_map(|o| o.record.as_ref()).collect();
    let values: Vec<serde_json::Value> = records.iter().map(|r| r.values.clone().into()).collect();
    let hashes: Vec<Vec<u8>> = records.iter().map(|r| r.content_hash().to_vec()).collect();
    let observed: Vec<_> = records.iter().map(|r| r.observed_at.map(UnixMs::to_datetime)).collect();
    let stale_after: Vec<_> = fresh.iter().map(|o| o.stale_after.map(|after| after.as_ms() as i64)).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"WITH input AS (
               SELECT * FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::timestamptz[],
                                    $6::timestamptz[], $7::boolean[], $8::jsonb[], $9::bytea[], $10::bigint[],
                                    $11::jsonb[], $12::bigint[], $13::boolean[])
                   AS t (tenant_id, device_id, resource, job_id, observed_at,
                         fetched_at, online, "values", hash, fence, validator, stale_after_ms, older_replaces)),
           stood AS (
               INSERT INTO latest AS l (tenant_id, device_id, resource, job_id, observed_at, fetched_at, changed_at,
                                        online, "values", content_hash, fence, validator, stale_after_ms,
                                        older_replaces, seen_at, stands_ms)
               SELECT i.tenant_id, i.device_id, i.resource, i.job_id, i.observed_at, i.fetched_at, i.fetched_at,
                      i.online, i."values", i.hash, i.fence, i.validator, i.stale_after_ms, i.older_replaces,
                      i.fetched_at, greatest(60000, 6 * j.interval_ms)
               FROM input i
               -- One look at the index for each, however large or small Postgres takes the table to be.
               CROSS JOIN LATERAL (SELECT j.interval_ms FROM jobs j
                                   WHERE (j.tenant_id, j.job_id) = (i.tenant_id, i.job_id) OFFSET 0) j
               ON CONFLICT (tenant_id, device_id, resource) DO UPDATE SET
                   (observed_at, changed_at, online, "values", content_hash, older_since) = (
                       -- An older observation leaves the newer one, and what it said, as it is.
                       SELECT CASE WHEN keep THEN l.observed_at ELSE excluded.observed_at END,
                              CASE WHEN keep OR (l.content_hash, l.online) = (excluded.content_hash, excluded.online)
                                   THEN l.changed_at ELSE excluded.fetched_at END,
                              CASE WHEN keep THEN l.online ELSE excluded.online END,
                              CASE WHEN keep THEN l."values" ELSE excluded."values" END,
                              CASE WHEN keep THEN l.content_hash ELSE excluded.content_hash END,
                              CASE WHEN keep THEN coalesce(l.older_since, excluded.fetched_at) END
                       FROM (SELECT NOT excluded.older_replaces AND keeps_observation(
                                 l.observed_at, excluded.observed_at, l.older_since, excluded.fetched_at)) AS t (keep)),
                   pace_ms = CASE WHEN excluded.observed_at > l.observed_at
                                  THEN next_pace_ms(l.pace_ms, excluded.fetched_at - l.observed_at)
                                  ELSE l.pace_ms END,
                   job_id = excluded.job_id, fetched_at = excluded.fetched_at, fence = excluded.fence,
                   validator = excluded.validator, stale_after_ms = excluded.stale_after_ms,
                   older_replaces = excluded.older_replaces, seen_at = excluded.seen_at,
                   stands_ms = next_stands_ms(l.stands_ms, excluded.seen_at - coalesce(l.seen_at, l.fetched_at),
                                          excluded.stands_ms / 6)
               WHERE l.fence <= excluded.fence
               RETURNING l.*),
           changed AS MATERIALIZED (
               -- By this very call: a repeat of it finds the row there and adds nothing.
               SELECT s.*, before.online AS was_online, gap.since
               FROM stood s LEFT JOIN latest before USING (tenant_id, device_id, resource)
               LEFT JOIN LATERAL (
                   -- Until then the history knows of it; nobody has seen what was between.
                   SELECT before.seen_at AS since
                   WHERE s.seen_at - before.seen_at > before.stands_ms * interval '1 ms') gap ON true
               WHERE gap.since IS NOT NULL OR s.changed_at = s.fetched_at
               AND (before.content_hash, before.online) IS DISTINCT FROM (s.content_hash, s.online)),
           history AS (
               INSERT INTO readings (tenant_id, device_id, resource, observed_at, fetched_at, online, "values",
                                     gap_since)
               SELECT tenant_id, device_id, resource, observed_at, fetched_at, online, "values", since FROM changed),
           events AS (
               INSERT INTO sync_events (tenant_id, job_id, at, outcome)
               SELECT tenant_id, job_id, fetched_at, CASE WHEN online THEN 'back_online' ELSE 'went_offline' END
               FROM changed WHERE online <> was_online)
           SELECT tenant_id AS "tenant_id!", device_id AS "device_id!", resource AS "resource!", observed_at,
                  fetched_at AS "fetched_at!", changed_at AS "changed_at!", online AS "online!",
                  "values" AS "values!", fence AS "fence!", pace_ms, stale_after_ms
           FROM stood"#,
        &fresh.iter().map(|o| o.tenant.0).collect::<Vec<_>>(),
        &fresh.iter().map(|o| o.device.0).collect::<Vec<_>>(),
        &fresh.iter().map(|o| o.resource.to_string()).collect::<Vec<_>>(),
        &fresh.iter().map(|o| o.job.0).collect::<Vec<_>>(),
        &observed as &[Option<chrono::DateTime<chrono::Utc>>],
        &fresh.iter().map(|o| o.fetched_at.to_datetime()).collect::<Vec<_>>(),
        &records.iter().map(|r| r.online).collect::<Vec<_>>(),
        &values,
        &hashes,
        &fresh.iter().map(|o| o.call.0).collect::<Vec<_>>(),
        &validators(fresh) as &[Option<serde_json::Value>],
        &stale_after as &[Option<i64>],
        &fresh.iter().map(|o| o.older_replaces).collect::<Vec<_>>(),
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("record the readings"))?;
    Ok(rows.into_iter().map(written).collect())
}

/// As Postgres stores them.
fn validators(of: &[&Observation]) -> Vec<Option<serde_json::Value>> {
    of.iter().map(|o| o.validator.as_ref().map(|validator| serde_json::json!(validator))).collect()
}

/// The value stays; only its fetch time, whether the device is online, and its validator change.
async fn write_touched(pool: &Pool, touched: &[&Observation]) -> Result<Vec<Written>, PostgresError> {
    let silent_before = |o: &&Observation| {
        o.offline_after.map(|after| o.fetched_at.plus_ms(-after.as_ms().cast_signed()).to_datetime())
    };
    let silent_before: Vec<_> = touched.iter().map(silent_before).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"WITH stood AS (
               UPDATE latest l SET
                   fence = i.fence,
                   (online, fetched_at, changed_at, seen_at, stands_ms) = (
                       SELECT is_online,
                              -- What could not be reached, or had nothing to tell, was not seen: its age goes on.
                              CASE WHEN is_online AND i.has_data THEN i.fetched_at ELSE l.fetched_at END,
                              CASE WHEN is_online = l.online THEN l.changed_at ELSE i.fetched_at END,
                              CASE WHEN is_seen THEN i.fetched_at ELSE l.seen_at END,
                              CASE WHEN is_seen
                                   THEN next_stands_ms(l.stands_ms, i.fetched_at - coalesce(l.seen_at, l.fetched_at),
                                                     (SELECT interval_ms FROM jobs j
                                                      WHERE (j.tenant_id, j.job_id) = (l.tenant_id, l.job_id)))
                                   ELSE l.stands_ms END
                       -- What is unchanged, or has no data, for too long is offline.
                       FROM (SELECT COALESCE(i.online, l.online AND COALESCE(l.observed_at >= i.silent_before, true)))
                           AS t (is_online)
                       -- That it is offline is known, too.
                       CROSS JOIN LATERAL (SELECT i.has_data OR NOT is_online) AS s (is_seen)),
                   -- What is unchanged keeps what vouches for it; any other answer has its own, or none.
                   validator = CASE WHEN i.online IS NULL THEN COALESCE(i.validator, l.validator)
                                    ELSE i.validator END
               FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::timestamptz[], $5::boolean[], $6::bigint[],
                           $7::jsonb[], $8::timestamptz[], $9::boolean[])
                   AS i (tenant_id, device_id, resource, fetched_at, online, fence, validator, silent_before, has_data)
               WHERE (l.tenant_id, l.device_id, l.resource) = (i.tenant_id, i.device_id, i.resource)
                 AND l.fence <= i.fence
               RETURNING l.*),
           changed AS MATERIALIZED (
               SELECT s.*, before.online AS was_online, gap.since
               FROM stood s JOIN latest before USING (tenant_id, device_id, resource)
               LEFT JOIN LATERAL (
                   SELECT before.seen_at AS since
                   WHERE s.seen_at - before.seen_at > before.stands_ms * interval '1 ms') gap ON true
               WHERE gap.since IS NOT NULL OR before.online <> s.online),
           history AS (
               INSERT INTO readings (tenant_id, device_id, resource, observed_at, fetched_at, online, "values",
                                     gap_since)
               SELECT tenant_id, device_id, resource, observed_at,
                      CASE WHEN online <> was_online THEN changed_at ELSE seen_at END, online, "values", since
               FROM changed),
           events AS (
               INSERT INTO sync_events (tenant_id, job_id, at, outcome)
               SELECT tenant_id, job_id, changed_at, CASE WHEN online THEN 'back_online' ELSE 'went_offline' END
               FROM changed WHERE online <> was_online)
           SELECT tenant_id AS "tenant_id!", device_id AS "device_id!", resource AS "resource!", observed_at,
                  fetched_at AS "fetched_at!", changed_at AS "changed_at!", online AS "online!",
                  "values" AS "values!", fence AS "fence!", pace_ms, stale_after_ms
           FROM stood"#,
        &touched.iter().map(|o| o.tenant.0).collect::<Vec<_>>(),
        &touched.iter().map(|o| o.device.0).collect::<Vec<_>>(),
        &touched.iter().map(|o| o.resource.to_string()).collect::<Vec<_>>(),
        &touched.iter().map(|o| o.fetched_at.to_datetime()).collect::<Vec<_>>(),
        &touched.iter().map(|o| o.online).collect::<Vec<_>>() as &[Option<bool>],
        &touched.iter().map(|o| o.call.0).collect::<Vec<_>>(),
        &validators(touched) as &[Option<serde_json::Value>],
        &silent_before as &[Option<chrono::DateTime<chrono::Utc>>],
        &touched.iter().map(|o| o.has_data).collect::<Vec<_>>(),
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("confirm the readings"))?;
    Ok(rows.into_iter().map(written).collect())
}

struct Row {
    tenant_id: i64,
    device_id: i64,
    resource: String,
    observed_at: Option<chrono::DateTime<chrono::Utc>>,
    fetched_at: chrono::DateTime<chrono::Utc>,
    changed_at: chrono::DateTime<chrono::Utc>,
    online: bool,
    values: serde_json::Value,
    fence: i64,
    pace_ms: Option<i64>,
    stale_after_ms: Option<i64>,
}

fn written(row: Row) -> Written {
    let values = match row.values {
        serde_json::Value::Object(values) => values,
        _ => serde_json::Map::new(),
    };
    Written {
        tenant: TenantId(row.tenant_id),
        device: DeviceId(row.device_id),
        resource: row.resource,
        fence: row.fence,
        latest: Latest {
            values,
            observed_at: row.observed_at.map(UnixMs::from),
            fetched_at: row.fetched_at.into(),
            changed_at: row.changed_at.into(),
            online: row.online,
            pace_ms: row.pace_ms,
            stale_after_ms: row.stale_after_ms,
        },
    }
}
