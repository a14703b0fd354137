//! `register`: adding jobs, to the schedule alone and on the whole way from an owner's wish.

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

/// Added between looks at the clock; ours and the yardstick alternate.
const TURN: usize = 10_000;

/// As many commands a round trip as `Queue::put` sends jobs.
const PIPELINE: usize = 500;

const UNIT: &str = "jobs/s";

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let (ours, bare) = to_schedule().await?;
    eprintln!("{JOBS} devices through Postgres");
    let all = through_postgres().await?;
    Ok(vec![
        Figure::new("register", ours, bare, UNIT)
            .of("jobs", JOBS)
            .aim("value ≥ 78,000", ours >= 78_000.0)
            .peers("the best: 78,000/s"),
        Figure::new("register_all", all, bare, UNIT).of("jobs", JOBS),
    ])
}

/// `Queue::put`, and one ZADD a job in pipelines of as many: jobs a second of each.
async fn to_schedule() -> Result<(f64, f64), Failed> {
    let server = RedisServer::start().await?;
    let rig = Rig::empty(&server, "measured", Fleet::new(JOBS, LANES)).await?;
    let (mut ours, mut bare) = (Duration::ZERO, Duration::ZERO);
    let numbers: Vec<usize> = (1..=JOBS).collect();
    for turn in numbers.chunks(TURN) {
        let entry = |number: &usize| rig.fleet.entry(*number, &rig.provider, None);
        let entries = turn.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let began = Instant::now();
        rig.queue.put(&rig.provider, &entries).await?;
        ours += began.elapsed();
        let began = Instant::now();
        add_bare(&rig.redis, &entries).await?;
        bare += began.elapsed();
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

/// Devices with their jobs into Postgres, and through the outbox into the schedule: jobs a second.
async fn through_postgres() -> Result<f64, Failed> {
    let at = Deployment::start().await?;
    keep::rebuild_if_lost(&at.app, &at.provider).await?;
    let connection = at.connect("http://127.0.0.1:9").await?;
    let began = Instant::now();
    at.add_devices(connection, JOBS, Fleet::new(JOBS, 1).interval).await?;
    keep::drain(&at.app).await?;
    let took = began.elapsed();
    at.close().await?;
    Ok(JOBS as f64 / took.as_secs_f64())
}
