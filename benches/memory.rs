//! `memory`: bytes of Redis per job, over all keys of the schedule.

use crate::Failed;
use crate::figure::Figure;
use crate::minimal::Minimal;
use crate::redis_server::RedisServer;
use crate::rig::{Fleet, Rig, T0};
use paceline::words::UnixMs;

const JOBS: usize = 1_000_000;
const LANES: usize = 10_000;

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let server = RedisServer::start().await?;
    let fleet = Fleet::new(JOBS, LANES);
    eprintln!("putting {JOBS} jobs");
    let before = server.memory_bytes().await?;
    Rig::full(&server, "measured", fleet, UnixMs(T0)).await?;
    let ours = server.memory_bytes().await?;
    // The yardstick: a sorted set of the same members and nothing else.
    Minimal::full(&server, "measured", fleet, UnixMs(T0)).await?;
    let bare = server.memory_bytes().await?;
    let per_job = (ours - before) / JOBS as f64;
    let figure = Figure::new("memory", per_job, (bare - ours) / JOBS as f64, "bytes of Redis per job");
    Ok(vec![
        figure
            .param("jobs", JOBS)
            .param("lanes", LANES)
            .aim("value ≤ 200", per_job <= 200.0)
            .peers("260 to 1,410 on a similar machine"),
    ])
}
