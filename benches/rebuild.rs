//! `rebuild`: a schedule that Redis has lost, built again from Postgres.
//!
//! The yardstick reads the same jobs and adds each by one ZADD, in pipelines.

use crate::Failed;
use crate::deployment::Deployment;
use crate::figure::Figure;
use paceline::keep::{self, Rebuild};
use paceline::words::Interval;
use tokio::time::Instant;

const JOBS: usize = 200_000;
const ACCOUNTS: usize = 200;
/// Jobs per statement and commands per round trip of the yardstick.
const PAGE: i64 = 2_000;

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let at = Deployment::start().await?;
    eprintln!("{JOBS} jobs at {ACCOUNTS} accounts");
    let minute = Interval::from_ms(60_000).unwrap_or(Interval::MAX);
    for account in 0..ACCOUNTS {
        let connection = at.connect_as(&format!("account {account}"), "http://127.0.0.1:9").await?;
        at.add_devices(connection, JOBS / ACCOUNTS, minute).await?;
    }
    at.mark_all_fetched().await?;
    keep::rebuild_if_lost(&at.app, &at.provider).await?;
    keep::drain(&at.app).await?;

    let started = Instant::now();
    add_bare(&at).await?;
    let bare = started.elapsed();
    at.flush_redis().await?;
    let started = Instant::now();
    match keep::rebuild_if_lost(&at.app, &at.provider).await? {
        Rebuild::Done(jobs) if jobs == JOBS as u64 => {}
        other => return Err(format!("{JOBS} jobs should have been put: {other:?}").into()),
    }
    let ours = started.elapsed();
    at.close().await?;
    let per_s = |took: std::time::Duration| JOBS as f64 / took.as_secs_f64();
    let met = per_s(ours) >= 50_000.0;
    Ok(vec![
        Figure::new("rebuild", per_s(ours), per_s(bare), "jobs/s")
            .param("jobs", JOBS)
            .aim("value ≥ 50,000", met),
    ])
}

async fn add_bare(at: &Deployment) -> Result<(), Failed> {
    let page = "SELECT j.job_id, j.interval_ms FROM jobs j JOIN devices d USING (tenant_id, device_id) \
                WHERE j.provider = $1 AND j.job_id > $2 ORDER BY j.job_id LIMIT $3";
    let mut after = 0_i64;
    loop {
        let rows: Vec<(i64, i64)> = sqlx::query_as(page)
            .bind(at.provider.as_str())
            .bind(after)
            .bind(PAGE)
            .fetch_all(&at.app.pool)
            .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.0;
        let mut pipe = redis::pipe();
        for (job, interval_ms) in &rows {
            pipe.zadd("minimal:due", job, interval_ms).ignore();
        }
        pipe.query_async::<()>(&mut at.app.redis.link()).await?;
    }
}
