//! `dispatch`: one worker process and a backlog: claim, do nothing, settle, until all is done.
//!
//! As in production, what one take brought is settled while the next is on its way.

use crate::Failed;
use crate::cpu;
use crate::figure::Figure;
use crate::minimal::Minimal;
use crate::redis_server::RedisServer;
use crate::rig::{Fleet, Rig, served};
use paceline::take::Grant;
use paceline::words::{Interval, UnixMs};
use std::time::Duration;
use tokio::time::Instant;

const JOBS: usize = 100_000;
const LANES: usize = 1_000;

/// Calls a take.
const CALLS: usize = 256;

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let server = RedisServer::start().await?;
    // Long enough that no job comes due again while the others are done.
    let day = Interval::from_ms(24 * 60 * 60 * 1000).unwrap_or(Interval::MAX);
    let fleet = Fleet { interval: day, ..Fleet::new(JOBS, LANES) };
    let long_ago = UnixMs(server.redis.time_ms().await? - 2 * i64::try_from(day.as_ms())?);
    eprintln!("{JOBS} overdue jobs in {LANES} lanes");
    let rig = Rig::full(&server, "measured", fleet, long_ago).await?;
    let mut minimal = Minimal::full(&server, "measured", fleet, long_ago).await?;

    let ours = Spending::of(&server, work_off(&rig)).await?;
    let bare = Spending::of(&server, minimal.turn(JOBS)).await?;
    let (per_s, bare_per_s) = (ours.per_s(), bare.per_s());
    let (per_cpu_s, bare_per_cpu_s) = (JOBS as f64 / ours.cpu_s, JOBS as f64 / bare.cpu_s);
    Ok(vec![
        Figure::new("dispatch", per_s, bare_per_s, "jobs/s")
            .of("lanes", LANES)
            .aim("value ≥ 28,500", per_s >= 28_500.0)
            .peers("apalis 9,500/s, BullMQ 5,400/s"),
        Figure::new("dispatch_cpu", per_cpu_s, bare_per_cpu_s, "jobs/s of CPU, worker and Redis")
            .of("lanes", LANES)
            .aim("value ≥ 27,300", per_cpu_s >= 27_300.0)
            .peers("apalis 9,100, BullMQ 3,200"),
    ])
}

/// Takes and settles until every job had its turn.
async fn work_off(rig: &Rig) -> Result<(), Failed> {
    let (mut taken, mut sent, mut done): (usize, UnixMs, Vec<Grant>) = (0, UnixMs(0), Vec::new());
    while taken < JOBS || !done.is_empty() {
        let (next, settled) = tokio::join!(rig.taker.take(CALLS, None), rig.settle(&done, sent, None));
        settled?;
        let next = next?;
        (sent, done) = (next.now, next.grants);
        taken += served(&done);
        if done.is_empty() && taken < JOBS {
            return Err(format!("only {taken} of {JOBS} jobs could be taken").into());
        }
    }
    Ok(())
}

/// What a piece of work took.
struct Spending {
    wall: Duration,
    /// This process's and Redis's.
    cpu_s: f64,
}

impl Spending {
    async fn of(
        server: &RedisServer,
        work: impl Future<Output = Result<(), Failed>>,
    ) -> Result<Self, Failed> {
        let (began, cpu_began) = (Instant::now(), cpu::own_s()? + server.cpu_s().await?);
        work.await?;
        Ok(Self { wall: began.elapsed(), cpu_s: cpu::own_s()? + server.cpu_s().await? - cpu_began })
    }

    fn per_s(&self) -> f64 {
        JOBS as f64 / self.wall.as_secs_f64()
    }
}
