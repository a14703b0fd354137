//! Which devices a reader asks for, in which order.

use crate::postgres::{Pool, PostgresError};
use crate::words::{DeviceId, JobState, TenantId, UnixMs};

/// Which devices to list. What is none does not matter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Of these.
    pub ids: Option<Vec<DeviceId>>,
    /// Of this provider.
    pub provider: Option<String>,
    /// Under the connection of this label or number.
    pub connection: Option<String>,
    /// Of this home or site.
    pub group: Option<String>,
    /// With a job in this state.
    pub state: Option<JobState>,
    /// Whether a scheduled job lacks a fresh reading.
    pub stale: Option<bool>,
    /// With this text in their names, in upper or lower case.
    pub name_contains: Option<String>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// By number.
    #[default]
    Id,
    /// By name without regard to case, then by number.
    Name,
}

/// Where a page begins, and how long it is.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// The order.
    pub sort: Sort,
    /// Behind this device; none at the beginning.
    pub after: Option<Position>,
    /// At most so many.
    pub limit: i64,
}

/// A device's place in a list: what it is sorted by. The device may be gone, or have another name by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Its number.
    pub id: DeviceId,
    /// Its name.
    pub name: String,
}

/// What counts as fresh.
#[derive(Debug, Clone, Copy)]
pub struct Freshness {
    /// Now.
    pub now: UnixMs,
    /// Grace as a share of the interval.
    pub grace_share: f64,
    /// Grace at least, ms.
    pub grace_min_ms: f64,
}

/// A page of a tenant's devices, in order.
pub async fn page(
    pool: &Pool,
    tenant: TenantId,
    filter: &Filter,
    span: &Span,
    fresh: Freshness,
) -> Result<Vec<Position>, PostgresError> {
    let ids = filter.ids.as_ref().map(|ids| ids.iter().map(|id| id.0).collect::<Vec<_>>());
    let after = span.after.as_ref();
    // What is none, and the order, are constants when the statement is planned: each kind of list has its own plan.
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT d.device_id, d.name FROM devices d JOIN connections c USING (tenant_id, connection_id)
           WHERE d.tenant_id = $1
             AND ($2 OR d.device_id > $3)
             AND (NOT $2 OR $4::text IS NULL
                  OR (lower(d.name) COLLATE "C", d.device_id) > (lower($4) COLLATE "C", $3))
             AND ($5::bigint[] IS NULL OR d.device_id = ANY($5))
             AND ($6::text IS NULL OR c.provider = $6)
             AND ($7::text IS NULL OR c.label = $7 OR c.connection_id::text = $7)
             AND ($8::text IS NULL OR d.group_key = $8)
             AND ($9::text IS NULL OR position(lower($9) IN lower(d.name)) > 0)
             AND ($10::text IS NULL OR EXISTS (
                 SELECT FROM jobs j
                 WHERE j.tenant_id = d.tenant_id AND j.device_id = d.device_id AND j.state = $10))
             AND ($11::boolean IS NULL OR $11 = EXISTS (
                 -- By the rule of `Latest::is_fresh`.
                 SELECT FROM jobs j LEFT JOIN latest l USING (tenant_id, device_id, resource)
                 WHERE j.tenant_id = d.tenant_id AND j.device_id = d.device_id AND j.state <> 'paused'
                   AND (extract(epoch FROM $12::timestamptz - l.fetched_at) * 1000
                            <= j.interval_ms + greatest(j.interval_ms * $13::float8, $14::float8)
                        AND coalesce(extract(epoch FROM $12::timestamptz - l.observed_at) * 1000
                            <= coalesce(l.stale_after_ms, 6 * j.interval_ms + coalesce(l.pace_ms, 0)), true)
                       ) IS NOT TRUE))
           ORDER BY CASE WHEN $2 THEN lower(d.name) COLLATE "C" ELSE '' END, d.device_id LIMIT $15"#,
        tenant.0,
        span.sort == Sort::Name,
        after.map_or(0, |position| position.id.0),
        after.map(|position| position.name.as_str()),
        ids.as_deref(),
        filter.provider,
        filter.connection,
        filter.group,
        filter.name_contains,
        filter.state.map(JobState::as_str),
        filter.stale,
        fresh.now.to_datetime(),
        fresh.grace_share,
        fresh.grace_min_ms,
        span.limit
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("list the devices"))?;
    Ok(rows.into_iter().map(|row| Position { id: DeviceId(row.device_id), name: row.name }).collect())
}

struct Row {
    device_id: i64,
    name: String,
}
