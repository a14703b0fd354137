//! The lag report: what is late now, and the last minutes.

use super::Stats;
use crate::postgres::{Pool, PostgresError, Read, Reads};
use crate::redis::{Keys, Redis, RedisError};
use crate::words::{Incident, ProviderName, TenantId, UnixMs};
use futures::future::{join_all, try_join};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Minutes in [`Recent`].
const RECENT_MINUTES: i64 = 5;

/// All that is told of lag.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LagReport {
    /// When it was made.
    pub at: String,
    /// If the jobs were counted at a replica of Postgres: at most how far it was behind, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 40)]
    pub replica_lag_ms: Option<u64>,
    /// By provider.
    pub providers: BTreeMap<String, Provider>,
}

/// One provider's part.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct Provider {
    /// The jobs that the asker may see.
    pub jobs: JobCounts,
    /// The schedule now; operators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The incident that lasts, if there is one; operators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// The last five minutes; operators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recent: Option<Recent>,
    /// Why the schedule is not told: its Redis cannot be reached, so the provider stands still; operators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreachable: Option<String>,
}

/// Counts of jobs, from Postgres.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct JobCounts {
    /// Scheduled jobs.
    pub active: i64,
    /// Of these, those whose reading is fresh, as `GET /v1/devices/{id}` tells it.
    pub fresh: i64,
    /// `fresh / active`; 1 when there are none.
    pub fresh_share: f64,
    /// Of these, those without any reading yet.
    pub never: i64,
    /// Of these, those that are failing.
    pub failing: i64,
    /// Jobs that keep failing, and are tried again ever more rarely.
    pub probing: i64,
    /// The largest excess of age over interval, ms; 0 when nothing is late.
    pub worst_late_ms: i64,
    /// Active and probing jobs without a fresh reading, by cause: `signed_out` (the provider refuses the connection's
    /// credentials), the outcome of the last call if it failed (`transient`, `no_data`, `gone`, `broken`,
    /// `unauthorized`), `offline` (the device), `never_called`, `waiting` (for a quota, a hold or a worker) and
    /// `not_observed` (the source repeats an old observation).
    #[schema(example = json!({"offline": 3, "signed_out": 12}))]
    pub not_fresh: BTreeMap<String, i64>,
}

/// The schedule now.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct Schedule {
    /// Jobs that wait for their time.
    pub due: i64,
    /// Lanes with jobs whose time has come.
    pub lanes_waiting: i64,
    /// Lanes that a quota or a hold keeps waiting.
    pub lanes_blocked: i64,
    /// Calls granted and not yet settled.
    pub calls_leased: i64,
}

/// The last five minutes.
#[derive(Debug, Clone, Default, Serialize, utoipa::ToSchema)]
pub struct Recent {
    /// Calls sent.
    pub calls: u64,
    /// Values that were left out of records: implausible, or not what their names say.
    pub rejected_values: u64,
    /// Job outcomes by their words.
    pub outcomes: BTreeMap<String, u64>,
    /// Calls that were granted and handed back unsent, by reason.
    #[schema(example = json!({"its instant was missed": 2}))]
    pub handed_back: BTreeMap<String, u64>,
    /// Send time minus due time: half of the jobs were not later, ms.
    pub lag_p50_ms: Option<f64>,
    /// 99 % of the jobs were not later, ms.
    pub lag_p99_ms: Option<f64>,
    /// None was later, ms.
    pub lag_max_ms: Option<f64>,
}

/// The servers a report reads, and what counts as fresh.
pub struct Sources<'a> {
    /// Postgres.
    pub reads: &'a Reads,
    /// Redis.
    pub redis: &'a Redis,
    /// Redis's key names.
    pub keys: &'a Keys,
    /// Grace as a share of the interval.
    pub grace_share: f64,
    /// Grace at least, ms.
    pub grace_min_ms: f64,
}

/// Makes the report: for one tenant its own jobs, for the operator (`None`) everything. A part of
/// a Redis Cluster may be away.
///
/// `incidents`: those that last, for the operator.
pub async fn report(
    sources: &Sources<'_>,
    tenant: Option<TenantId>,
    providers: &[ProviderName],
    mut incidents: HashMap<ProviderName, Incident>,
    now: UnixMs,
) -> Result<LagReport, PostgresError> {
    let Read { answer: mut found, replica_lag_ms } =
        sources.reads.ask(|pool| job_counts(pool, sources, tenant, now)).await?;
    if tenant.is_none() {
        let read = async |name| (name, try_join(schedule(sources, name), recent(sources, name, now)).await);
        for (name, read) in join_all(providers.iter().map(read)).await {
            let entry = found.entry(name.to_string()).or_default();
            entry.incident = incidents.remove(name);
            match read {
                Ok((schedule, recent)) => (entry.schedule, entry.recent) = (Some(schedule), Some(recent)),
                Err(error) => entry.unreachable = Some(error.to_string()),
            }
        }
    }
    for provider in found.values_mut() {
        let jobs = &mut provider.jobs;
        jobs.fresh_share = if jobs.active == 0 { 1.0 } else { jobs.fresh as f64 / jobs.active as f64 };
    }
    Ok(LagReport { at: now.to_string(), replica_lag_ms, providers: found })
}

async fn job_counts(
    pool: Pool,
    sources: &Sources<'_>,
    tenant: Option<TenantId>,
    now: UnixMs,
) -> Result<BTreeMap<String, Provider>, PostgresError> {
    let rows = sqlx::query!(
        r#"-- All tenants: if none is given: the operator's report.
           WITH counted AS (
               SELECT j.provider, j.state, j.failing_since, l.fetched_at, l.online, c.state AS connection_state,
                      CASE WHEN j.last_error_at > coalesce(l.fetched_at, '-infinity')
                           THEN split_part(j.last_error, ':', 1) END AS error,
                      extract(epoch FROM $2::timestamptz - l.fetched_at)::float8 * 1000 - j.interval_ms AS late_ms,
                      greatest(j.interval_ms * $3::float8, $4::float8) AS grace_ms,
                      coalesce(extract(epoch FROM $2::timestamptz - l.observed_at) * 1000
                               > coalesce(l.stale_after_ms, 6 * j.interval_ms + coalesce(l.pace_ms, 0)), false)
                          AS stale
               FROM jobs j
               JOIN devices d USING (tenant_id, device_id)
               JOIN connections c USING (tenant_id, connection_id)
               LEFT JOIN latest l USING (tenant_id, device_id, resource)
               WHERE j.state <> 'paused' AND c.state NOT IN ('paused', 'closed')
                 AND ($1::bigint IS NULL OR j.tenant_id = $1)),
           judged AS (
               SELECT *, CASE WHEN connection_state <> 'active' THEN 'signed_out'
                              WHEN error IS NOT NULL THEN error
                              WHEN online = false THEN 'offline'
                              WHEN fetched_at IS NULL THEN 'never_called'
                              WHEN late_ms > grace_ms THEN 'waiting'
                              WHEN stale THEN 'not_observed' END AS cause
               FROM counted)
           SELECT provider, cause,
                  count(*) FILTER (WHERE state = 'active') AS "active!",
                  count(*) FILTER (WHERE state = 'active' AND late_ms <= grace_ms AND NOT stale) AS "fresh!",
                  count(*) FILTER (WHERE state = 'active' AND fetched_at IS NULL) AS "never!",
                  count(*) FILTER (WHERE state = 'active' AND failing_since IS NOT NULL) AS "failing!",
                  count(*) FILTER (WHERE state = 'probing') AS "probing!",
                  count(*) FILTER (WHERE (late_ms <= grace_ms AND NOT stale) IS NOT TRUE) AS "not_fresh!",
                  coalesce(max(late_ms) FILTER (WHERE state = 'active' AND late_ms > 0), 0)::bigint AS "worst!"
           FROM judged GROUP BY provider, cause"#,
        tenant.map(|t| t.0),
        now.to_datetime(),
        sources.grace_share,
        sources.grace_min_ms,
    )
    .fetch_all(&pool.for_long_statements())
    .await
    .map_err(PostgresError::on("count the jobs"))?;
    let mut counts: BTreeMap<String, Provider> = BTreeMap::new();
    for row in rows {
        let jobs = &mut counts.entry(row.provider).or_default().jobs;
        jobs.active += row.active;
        jobs.fresh += row.fresh;
        jobs.never += row.never;
        jobs.failing += row.failing;
        jobs.probing += row.probing;
        jobs.worst_late_ms = jobs.worst_late_ms.max(row.worst);
        if let Some(cause) = row.cause.filter(|_| row.not_fresh > 0) {
            jobs.not_fresh.insert(cause, row.not_fresh);
        }
    }
    Ok(counts)
}

async fn schedule(sources: &Sources<'_>, provider: &ProviderName) -> Result<Schedule, RedisError> {
    let anchor = sources.keys.anchor(provider);
    let mut pipe = redis::pipe();
    for key in ["due", "lanes", "blocked", "leases"] {
        pipe.zcard(format!("{anchor}{key}"));
    }
    let (due, lanes_waiting, lanes_blocked, calls_leased) = pipe
        .query_async(&mut sources.redis.link())
        .await
        .map_err(|source| RedisError::Failed { what: "count the schedule", source })?;
    Ok(Schedule { due, lanes_waiting, lanes_blocked, calls_leased })
}

async fn recent(sources: &Sources<'_>, provider: &ProviderName, now: UnixMs) -> Result<Recent, RedisError> {
    let stats = Stats::read(sources.redis, sources.keys, provider, now, RECENT_MINUTES).await?;
    Ok(Recent {
        calls: stats.calls,
        rejected_values: stats.rejected,
        lag_p50_ms: stats.lag_ms(0.5),
        lag_p99_ms: stats.lag_ms(0.99),
        lag_max_ms: stats.lag_ms(1.0),
        outcomes: stats.outcomes,
        handed_back: stats.handed_back,
    })
}
