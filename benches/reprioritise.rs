//! `reprioritise`: changing intervals one by one, many at the same time: in the schedule alone, and as the API does it.

use crate::Failed;
use crate::deployment::Deployment;
use crate::figure::Figure;
use crate::redis_server::RedisServer;
use crate::rig::{Fleet, Rig};
use futures::stream::{self, StreamExt, TryStreamExt};
use paceline::change::{self, Change, JobFilter, Plans};
use paceline::keep;
use paceline::preference::jobs::{self, DeviceRef, JobPatch};
use paceline::words::{DeviceId, Interval, JobId, ResourceName, UnixMs};
use std::time::Duration;
use tokio::time::Instant;

const JOBS: usize = 100_000;
const LANES: usize = 1_000;
const CHANGED: usize = 10_000;
/// Those that the jobs of one change are under.
const CONNECTIONS: usize = 100;

/// Jobs per round; rounds of Paceline and of the yardstick alternate.
const ROUND_JOBS: usize = 1_000;

/// Concurrent changes.
const CONCURRENCY: usize = 64;

const UNIT: &str = "jobs/s";

pub async fn run() -> Result<Vec<Figure>, Failed> {
    eprintln!("changing {CHANGED} of {JOBS} jobs");
    let (ours, bare) = in_schedule().await?;
    eprintln!("changing {CHANGED} jobs through Postgres");
    let all = through_postgres().await?;
    Ok(vec![
        Figure::new("reprioritise", ours, bare, UNIT)
            .param("jobs", CHANGED)
            .param("at_once", CONCURRENCY)
            .aim("value ≥ 2,300", ours >= 2_300.0)
            .peers("best: 2,300/s"),
        Figure::new("reprioritise_all", all, bare, UNIT).param("jobs", CHANGED).param("at_once", CONCURRENCY),
        bulk().await?,
    ])
}

/// `Queue::put` with one job per call, and ZADD with one member: jobs per second of each.
async fn in_schedule() -> Result<(f64, f64), Failed> {
    let server = RedisServer::start().await?;
    let fleet = Fleet::new(JOBS, LANES);
    let now = UnixMs(server.redis.time_ms().await?);
    let rig = Rig::full(&server, "measured", fleet, now).await?;
    let changed = Fleet { interval: half(fleet.interval), ..fleet };
    let (mut ours, mut bare) = (Duration::ZERO, Duration::ZERO);
    // Every tenth job, so that they are spread over the schedule.
    let numbers: Vec<usize> = (1..=JOBS).step_by(JOBS / CHANGED).collect();
    for round in numbers.chunks(ROUND_JOBS) {
        let entry = |number: &usize| {
            let mut entry = changed.entry(*number, &rig.provider, None)?;
            entry.job.version += 1;
            Ok::<_, Failed>(entry)
        };
        let entries = round.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        let started = Instant::now();
        stream::iter(&entries)
            .map(|entry| rig.queue.put(&rig.provider, std::slice::from_ref(entry)))
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        ours += started.elapsed();
        let started = Instant::now();
        stream::iter(&entries)
            .map(async |entry| {
                let mut add = redis::cmd("ZADD");
                add.arg("minimal:due").arg(entry.offset_ms).arg(entry.job.id.0);
                add.query_async::<()>(&mut rig.redis.link()).await
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        bare += started.elapsed();
    }
    Ok((CHANGED as f64 / ours.as_secs_f64(), CHANGED as f64 / bare.as_secs_f64()))
}

/// What `PUT …/jobs/state` does: store the patch and update the schedule at once. Jobs per second.
async fn through_postgres() -> Result<f64, Failed> {
    let at = Deployment::start().await?;
    keep::rebuild_if_lost(&at.app, &at.provider).await?;
    let connection = at.connect("http://127.0.0.1:9").await?;
    let interval = Fleet::new(CHANGED, 1).interval;
    let devices = at.add_devices(connection, CHANGED, interval).await?;
    keep::drain(&at.app).await?;
    let resource: ResourceName = "state".parse()?;
    let patch = JobPatch { interval: Some(half(interval)), ..JobPatch::default() };
    let started = Instant::now();
    stream::iter(devices)
        .map(async |device: DeviceId| {
            let subject = DeviceRef {
                device,
                provider: at.provider.to_string(),
                connection,
                group: String::new(),
                usable: true,
                weight: 1,
            };
            let set = jobs::set(
                &at.app.pool,
                at.tenant,
                &subject,
                (&resource, interval),
                &patch,
                None,
                at.app.clock.now(),
            )
            .await?;
            let jobs: Vec<JobId> = set.iter().map(|asked| asked.job.id).collect();
            keep::tell_soon(&at.app, &at.provider, &jobs).await;
            Ok::<_, Failed>(())
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    let took = started.elapsed();
    at.close().await?;
    Ok(CHANGED as f64 / took.as_secs_f64())
}

/// One `PATCH /v1/jobs` about all jobs, until the schedule has every change; the yardstick is one UPDATE of the rows.
async fn bulk() -> Result<Figure, Failed> {
    eprintln!("changing {JOBS} jobs together");
    let at = Deployment::start().await?;
    keep::rebuild_if_lost(&at.app, &at.provider).await?;
    let interval = Fleet::new(JOBS, 1).interval;
    for number in 1..=CONNECTIONS {
        let connection = at.connect_as(&format!("account {number}"), "http://127.0.0.1:9").await?;
        at.add_devices(connection, JOBS / CONNECTIONS, interval).await?;
    }
    keep::drain(&at.app).await?;
    let change = Change { interval: Some(half(interval).to_string()), ..Change::default() };
    let (plans, all) = (Plans::default(), JobFilter::default());
    let started = Instant::now();
    let changed = change::set_jobs(&at.app, &plans, at.tenant, &all, &change, false).await?;
    keep::drain(&at.app).await?;
    let ours = changed.changed as f64 / started.elapsed().as_secs_f64();
    let started = Instant::now();
    let rows = sqlx::query("UPDATE jobs SET interval_ms = interval_ms * 2").execute(&at.app.pool).await?;
    let bare = rows.rows_affected() as f64 / started.elapsed().as_secs_f64();
    at.close().await?;
    Ok(Figure::new("reprioritise_bulk", ours, bare, UNIT)
        .param("jobs", JOBS)
        .aim("value ≥ 20,000", ours >= 20_000.0))
}

fn half(interval: Interval) -> Interval {
    Interval::from_ms(interval.as_ms() / 2).unwrap_or(Interval::MIN)
}
