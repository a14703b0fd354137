//! Preferences that stand at a connection or at a group within it: for jobs that have none of their own.

use super::windows::InForceCache;
use crate::postgres::{Pool, PostgresError, Transaction};
use crate::preference::tenants::room;
use crate::words::{ConnectionId, Interval, JobOrigin, Priority, ResourceName, TenantId, Timetable, UnixMs};
use std::collections::HashMap;

/// A preference of a connection, or of a group within it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DefaultPreference {
    /// The home or site; empty: the whole connection.
    pub group: String,
    /// The resource.
    pub resource: ResourceName,
    /// The interval; with windows, the one outside of them.
    pub interval: Interval,
    /// Its intervals by time of day.
    pub windows: Option<Timetable>,
    /// The priority.
    pub priority: Priority,
}

/// A connection of a tenant.
#[derive(Debug, Clone, Copy)]
pub struct Whose {
    /// The tenant.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
}

/// The interval of jobs for which no preference stands anywhere; none: it stays as it is.
pub type Fallback<'a> = &'a (dyn Fn(&str) -> Option<Interval> + Sync);

/// The preferences of a connection and its groups, ordered by group and resource.
pub async fn list(pool: &Pool, whose: Whose) -> Result<Vec<DefaultPreference>, PostgresError> {
    let mut tx = pool.begin().await.map_err(failed())?;
    read(&mut tx, whose).await
}

/// Changes a preference, or adds the one given, and has the jobs follow for which it is the nearest. With `replaces`,
/// those that have one of their own give it up. Returns the preference, and how many jobs changed.
pub async fn set(
    pool: &Pool,
    whose: Whose,
    by_default: DefaultPreference,
    change: impl FnOnce(&mut DefaultPreference),
    replaces: bool,
    fallback: Fallback<'_>,
) -> Result<(DefaultPreference, u64), PostgresError> {
    let mut tx = pool.for_long_statements().begin().await.map_err(failed())?;
    hold(&mut tx, whose).await?;
    let stands = read(&mut tx, whose).await?.into_iter();
    let stands = stands
        .into_iter()
        .find(|one| (&one.group, &one.resource) == (&by_default.group, &by_default.resource));
    let mut new = stands.unwrap_or(by_default);
    change(&mut new);
    sqlx::query!(
        "INSERT INTO default_preferences
             (tenant_id, connection_id, group_key, resource, interval_ms, priority, windows)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (tenant_id, connection_id, group_key, resource) DO UPDATE SET
             interval_ms = excluded.interval_ms, priority = excluded.priority, windows = excluded.windows",
        whose.tenant.0,
        whose.connection.0,
        new.group,
        new.resource.as_str(),
        new.interval.as_ms() as i64,
        i16::from(new.priority.class()),
        new.windows.as_ref().map(Timetable::to_json)
    )
    .execute(&mut tx)
    .await
    .map_err(failed())?;
    if replaces {
        // As if they followed the connection's: where there is none, the provider's default applies again.
        sqlx::query!(
            "UPDATE jobs j SET origin = 'connection' FROM devices d
             WHERE j.tenant_id = $1 AND j.resource = $4 AND j.origin = 'device'
               AND d.tenant_id = $1 AND d.device_id = j.device_id AND d.connection_id = $2
               AND ($3 = '' OR d.group_key = $3)",
            whose.tenant.0,
            whose.connection.0,
            new.group,
            new.resource.as_str()
        )
        .execute(&mut tx)
        .await
        .map_err(failed())?;
    }
    let changed = follow(&mut tx, whose, None, fallback).await?;
    tx.commit().await.map_err(failed())?;
    Ok((new, changed))
}

/// Removes a preference; the jobs that followed it follow the next nearest. None: there is no such preference.
pub async fn remove(
    pool: &Pool,
    whose: Whose,
    (group, resource): (&str, &ResourceName),
    fallback: Fallback<'_>,
) -> Result<Option<u64>, PostgresError> {
    let mut tx = pool.for_long_statements().begin().await.map_err(failed())?;
    hold(&mut tx, whose).await?;
    let removed = sqlx::query!(
        "DELETE FROM default_preferences
         WHERE tenant_id = $1 AND connection_id = $2 AND group_key = $3 AND resource = $4",
        whose.tenant.0,
        whose.connection.0,
        group,
        resource.as_str()
    )
    .execute(&mut tx)
    .await
    .map_err(failed())?;
    if removed.rows_affected() == 0 {
        return Ok(None);
    }
    let changed = follow(&mut tx, whose, None, fallback).await?;
    tx.commit().await.map_err(failed())?;
    Ok(Some(changed))
}

/// Has a job give up its own preference and follow the nearest one. False: there is no such job.
pub async fn give_up(
    pool: &Pool,
    whose: Whose,
    (device, resource): (crate::words::DeviceId, &ResourceName),
    fallback: Fallback<'_>,
) -> Result<bool, PostgresError> {
    let mut tx = pool.begin().await.map_err(failed())?;
    hold(&mut tx, whose).await?;
    // As if it followed the connection's: where there is none, the provider's default applies again.
    let given_up = sqlx::query!(
        "UPDATE jobs SET origin = CASE origin WHEN 'device' THEN 'connection' ELSE origin END
         WHERE tenant_id = $1 AND device_id = $2 AND resource = $3",
        whose.tenant.0,
        device.0,
        resource.as_str()
    )
    .execute(&mut tx)
    .await
    .map_err(failed())?;
    if given_up.rows_affected() == 0 {
        return Ok(false);
    }
    follow(&mut tx, whose, Some(&[device.0]), fallback).await?;
    tx.commit().await.map_err(failed())?;
    Ok(true)
}

/// Whether a device of the connection is in this home or site.
pub async fn has_group(pool: &Pool, whose: Whose, group: &str) -> Result<bool, PostgresError> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM devices WHERE tenant_id = $1 AND connection_id = $2 AND group_key = $3)
               AS "has!""#,
        whose.tenant.0,
        whose.connection.0,
        group
    )
    .fetch_one(pool)
    .await
    .map_err(failed())
}

/// Whether any preference stands at the connection or a group of it.
pub async fn any(tx: &mut Transaction, whose: Whose) -> Result<bool, PostgresError> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM default_preferences WHERE tenant_id = $1 AND connection_id = $2) AS "any!""#,
        whose.tenant.0,
        whose.connection.0
    )
    .fetch_one(tx)
    .await
    .map_err(failed())
}

/// Has the jobs of a device that ask for nothing of their own follow the preferences of its group and connection.
pub async fn follow_device(
    pool: &Pool,
    whose: Whose,
    device: crate::words::DeviceId,
) -> Result<(), PostgresError> {
    let mut tx = pool.begin().await.map_err(failed())?;
    if any(&mut tx, whose).await? {
        hold(&mut tx, whose).await?;
        follow(&mut tx, whose, Some(&[device.0]), &|_| None).await?;
    }
    tx.commit().await.map_err(failed())
}

/// How many jobs of a resource have a preference of their own, in a group or the whole connection.
pub async fn own(
    pool: &Pool,
    whose: Whose,
    (group, resource): (&str, &ResourceName),
) -> Result<i64, PostgresError> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "own!" FROM devices d JOIN jobs j USING (tenant_id, device_id)
           WHERE d.tenant_id = $1 AND d.connection_id = $2 AND ($3 = '' OR d.group_key = $3)
             AND j.resource = $4 AND j.origin = 'device'"#,
        whose.tenant.0,
        whose.connection.0,
        group,
        resource.as_str()
    )
    .fetch_one(pool)
    .await
    .map_err(failed())
}

/// Has the jobs of a connection, or of some of its devices, without a preference of their own follow the nearest one.
/// Returns how many changed.
pub async fn follow(
    tx: &mut Transaction,
    whose: Whose,
    devices: Option<&[i64]>,
    fallback: Fallback<'_>,
) -> Result<u64, PostgresError> {
    let defaults = read(tx, whose).await?;
    let rows = sqlx::query!(
        r#"SELECT j.job_id, d.group_key, j.resource, j.interval_ms, j.base_ms, j.windows, j.priority, j.origin,
                  now() AS "now!"
           FROM devices d JOIN jobs j USING (tenant_id, device_id)
           WHERE d.tenant_id = $1 AND d.connection_id = $2 AND j.origin <> 'device'
             AND ($3::bigint[] IS NULL OR d.device_id = ANY($3))
           ORDER BY j.job_id FOR NO KEY UPDATE OF j"#,
        whose.tenant.0,
        whose.connection.0,
        devices
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(failed())?;
    let by_name: HashMap<_, _> =
        defaults.iter().map(|one| ((one.group.as_str(), one.resource.as_str()), one)).collect();
    let (mut changed, mut known) = (Columns::default(), InForceCache::default());
    for row in &rows {
        let of = |group: &str| by_name.get(&(group, row.resource.as_str())).copied();
        let nearest = match row.group_key.as_str() {
            "" => None,
            group => of(group).map(|one| (one, JobOrigin::Group)),
        };
        let nearest = nearest.or_else(|| of("").map(|one| (one, JobOrigin::Connection)));
        let now = UnixMs::from(row.now);
        let stands = (row.base_ms.unwrap_or(row.interval_ms), row.priority, row.windows.clone());
        let origin = nearest.map_or(JobOrigin::Provider, |(_, origin)| origin);
        let asked = match nearest {
            Some((one, _)) => (
                one.interval.as_ms() as i64,
                i16::from(one.priority.class()),
                one.windows.as_ref().map(Timetable::to_json),
            ),
            None if row.origin == JobOrigin::Provider.as_str() => continue,
            None => match fallback(&row.resource) {
                Some(interval) => (interval.as_ms() as i64, i16::from(Priority::default().class()), None),
                None => stands.clone(),
            },
        };
        if asked == stands && origin.as_str() == row.origin {
            continue;
        }
        let (base_ms, priority, json) = asked;
        let in_force = known.at(Some(base_ms), json.as_ref(), now);
        changed.jobs.push(row.job_id);
        changed.intervals.push(in_force.as_ref().map_or(base_ms, |it| it.interval.as_ms() as i64));
        changed.bases.push(in_force.as_ref().map(|_| base_ms));
        changed.windows.push(json.filter(|_| in_force.is_some()));
        changed.in_window.push(in_force.as_ref().is_some_and(|it| it.in_window));
        changed.turns.push(in_force.map(|it| it.turns_at.to_datetime()));
        changed.priorities.push(priority);
        changed.origins.push(origin.as_str().to_owned());
    }
    if changed.jobs.is_empty() {
        return Ok(0);
    }
    write(tx, whose, &changed).await?;
    Ok(changed.jobs.len() as u64)
}

async fn write(tx: &mut Transaction, whose: Whose, changed: &Columns) -> Result<(), PostgresError> {
    sqlx::query!(
        "WITH changed AS (
             UPDATE jobs j SET interval_ms = t.interval_ms, base_ms = t.base_ms, windows = t.windows,
                    in_window = t.in_window, turns_at = t.turns_at, priority = t.priority, origin = t.origin,
                    version = j.version + 1
             FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[], $5::jsonb[], $6::boolean[], $7::timestamptz[],
                         $8::smallint[], $9::text[])
                  AS t (job_id, interval_ms, base_ms, windows, in_window, turns_at, priority, origin)
             WHERE j.tenant_id = $1 AND j.job_id = t.job_id RETURNING j.provider, j.job_id),
         noted AS (INSERT INTO outbox (provider, job_id) SELECT provider, job_id FROM changed)
         SELECT pg_notify('paceline_outbox', '')::text AS notified",
        whose.tenant.0,
        &changed.jobs,
        &changed.intervals,
        &changed.bases as &[Option<i64>],
        &changed.windows as &[Option<serde_json::Value>],
        &changed.in_window,
        &changed.turns as &[Option<chrono::DateTime<chrono::Utc>>],
        &changed.priorities,
        &changed.origins
    )
    .fetch_all(tx)
    .await
    .map(drop)
    .map_err(failed())
}

async fn read(tx: &mut Transaction, whose: Whose) -> Result<Vec<DefaultPreference>, PostgresError> {
    let rows = sqlx::query!(
        "SELECT group_key, resource, interval_ms, priority, windows FROM default_preferences
         WHERE tenant_id = $1 AND connection_id = $2 ORDER BY group_key, resource",
        whose.tenant.0,
        whose.connection.0
    )
    .fetch_all(tx)
    .await
    .map_err(failed())?;
    // What the table's checks exclude is left out.
    let read = rows.into_iter().filter_map(|row| {
        Some(DefaultPreference {
            group: row.group_key,
            resource: row.resource.parse().ok()?,
            interval: Interval::from_ms(row.interval_ms.try_into().ok()?)?,
            windows: row.windows.as_ref().and_then(Timetable::from_json),
            priority: Priority::from_class(row.priority.try_into().ok()?)?,
        })
    });
    Ok(read.collect())
}

/// Has changes to a connection's preferences, lists and imports of its devices wait for each other; and then whatever
/// else locks many of the tenant's jobs, so that none of them waits for another.
pub async fn hold(tx: &mut Transaction, whose: Whose) -> Result<(), PostgresError> {
    sqlx::query!(
        "SELECT connection_id FROM connections WHERE tenant_id = $1 AND connection_id = $2 FOR NO KEY UPDATE",
        whose.tenant.0,
        whose.connection.0
    )
    .fetch_optional(&mut *tx)
    .await
    .map_err(failed())?;
    room::hold(tx, whose.tenant).await
}

fn failed() -> impl FnOnce(sqlx::Error) -> PostgresError {
    PostgresError::on("change the connection's preferences")
}

#[derive(Default)]
struct Columns {
    jobs: Vec<i64>,
    intervals: Vec<i64>,
    bases: Vec<Option<i64>>,
    windows: Vec<Option<serde_json::Value>>,
    in_window: Vec<bool>,
    turns: Vec<Option<chrono::DateTime<chrono::Utc>>>,
    priorities: Vec<i16>,
    origins: Vec<String>,
}
