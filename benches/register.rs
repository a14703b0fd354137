//! `register`: adding jobs, to the schedule alone and through Postgres and the outbox.

use crate::Failed;
use crate::deployment::Deployment;
use crate::figure::Figure;
use crate::redis_server::RedisServer;
use crate::rig::{Fleet, Rig};
use paceline::keep;
use paceline::redis::Redis;
use paceline::schedule::Entry;
use std::time::Duration;
use tokio::time::Instant;

const JOBS: usize = 100_000;
const LANES: usize = 1_000;

/// Jobs per round; rounds of Paceline and of the yardstick alternate.
const ROUND_JOBS: usize = 10_000;

/// Commands per round trip, as many as `Queue::put` sends jobs.
const PIPELINE: usize = 500;

const UNIT: &str = "jobs/s";

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let (ours, bare) = to_schedule().await?;
    eprintln!("{JOBS} devices through Postgres");
    let all = through_postgres().await?;
    Ok(vec![
        Figure::new("register", ours, bare, UNIT)
            .param("jobs", JOBS)
            .aim("value ≥ 78,000", ours >= 78_000.0)
            .peers("best: 78,000/s"),
        Figure::new("register_all", all, bare, UNIT).param("jobs", JOBS),
    ])
}

/// `Queue::put`, and pipelines of one ZADD per job: jobs per second of each.
async fn to_schedule() -> Result<(f64, f64), Failed> {
    let server = RedisServer::start().await?;
    let rig = Rig::empty(&server, "measured", Fleet::new(JOBS, LANES)).await?;
    let (mut ours, mut bare) = (Duration::ZERO, Duration::ZERO);
    let numbers: Vec<usize> = (1..=JOBS).collect();
    for round in numbers.chunks(ROUND_JOBS) {
        let entry = |number: &usize| rig.fleet.entry(*number, &rig.provider, None);
        let entries = round.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let started = Instant::now();
        rig.queue.put(&rig.provider, &entries).await?;
        ours += started.elapsed();
        let started = Instant::now();
        add_bare(&rig.redis, &entries).await?;
        bare += started.elapsed();
    }
    Ok((JOBS as f64 / ours.as_secs_f64(), JOBS as f64 / bare.as_secs_f64()))
}

async fn add_bare(redis: &Redis, entries: &[Entry]) -> Result<(), Failed> {
    for batch in entries.chunks(PIPELINE) {
        let mut pipe = redis::pipe();
        for entry in batch {
            pipe.zadd("minimal:due", entry.job.id.0, entry.offset_ms).ignore();
        }
        pipe.query_async::<()>(&mut redis.link()).await?;
    }
    Ok(())
}

/// Devices with their jobs into Postgres and through the outbox into the schedule: jobs per second.
async fn through_postgres() -> Result<f64, Failed> {
    let at = Deployment::start().await?;
    keep::rebuild_if_lost(&at.app, &at.provider).await?;
    let connection = at.connect("http://127.0.0.1:9").await?;
    let started = Instant::now();
    at.add_devices(connection, JOBS, Fleet::new(JOBS, 1).interval).await?;
    keep::drain(&at.app).await?;
    let took = started.elapsed();
    at.close().await?;
    Ok(JOBS as f64 / took.as_secs_f64())
}
