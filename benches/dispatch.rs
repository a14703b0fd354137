//! `dispatch`: one worker process takes and settles a backlog of no-op jobs.
//!
//! As in production, the calls of one take are settled while the next take is in flight.

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

/// Calls per take.
const CALLS: usize = 256;

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let server = RedisServer::start().await?;
    // Long enough that no job comes due again during the run.
    let day = Interval::from_ms(24 * 60 * 60 * 1000).unwrap_or(Interval::MAX);
    let fleet = Fleet { interval: day, ..Fleet::new(JOBS, LANES) };
    let long_ago = UnixMs(server.redis.time_ms().await? - 2 * i64::try_from(day.as_ms())?);
    eprintln!("{JOBS} overdue jobs in {LANES} lanes");
    let rig = Rig::full(&server, "measured", fleet, long_ago).await?;
    let mut minimal = Minimal::full(&server, "measured", fleet, long_ago).await?;

    let ours = Usage::measure(&server, run_all(&rig)).await?;
    let bare = Usage::measure(&server, minimal.run(JOBS)).await?;
    let (per_s, bare_per_s) = (ours.per_s(), bare.per_s());
    let (per_cpu_s, bare_per_cpu_s) = (JOBS as f64 / ours.cpu_s, JOBS as f64 / bare.cpu_s);
    Ok(vec![
        Figure::new("dispatch", per_s, bare_per_s, "jobs/s")
            .param("lanes", LANES)
            .aim("value ≥ 28,500", per_s >= 28_500.0)
            .peers("apalis 9,500/s, BullMQ 5,400/s"),
        Figure::new("dispatch_cpu", per_cpu_s, bare_per_cpu_s, "jobs/s of CPU (worker + Redis)")
            .param("lanes", LANES)
            .aim("value ≥ 27,300", per_cpu_s >= 27_300.0)
            .peers("apalis 9,100, BullMQ 3,200"),
    ])
}

/// Takes and settles until every job has run.
async fn run_all(rig: &Rig) -> Result<(), Failed> {
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

/// Time that some work took.
struct Usage {
    wall: Duration,
    /// CPU time of this process and of Redis.
    cpu_s: f64,
}

impl Usage {
    async fn measure(
        server: &RedisServer,
        work: impl Future<Output = Result<(), Failed>>,
    ) -> Result<Self, Failed> {
        let (started, cpu_before_s) = (Instant::now(), cpu::own_s()? + server.cpu_s().await?);
        work.await?;
        Ok(Self { wall: started.elapsed(), cpu_s: cpu::own_s()? + server.cpu_s().await? - cpu_before_s })
    }

    fn per_s(&self) -> f64 {
        JOBS as f64 / self.wall.as_secs_f64()
    }
}
