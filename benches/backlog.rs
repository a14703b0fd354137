//! `backlog`: how long the longest take keeps Redis from others while a million jobs are overdue.
//!
//! After an outage every job of a fleet is overdue. A take may gather only a part of them, whatever their number. The
//! yardstick moves as many members as a take gathers.

use crate::Failed;
use crate::figure::{Figure, rounded};
use crate::minimal::Minimal;
use crate::redis_server::RedisServer;
use crate::rig::{Fleet, Rig, T0, served};
use paceline::words::UnixMs;

const JOBS: usize = 1_000_000;
const LANES: usize = 1_000;

/// As production asks: what its slots hold.
const CALLS: usize = 128;

/// Takes that are measured: the first ones meet nothing but due jobs, the later ones a backlog too.
const TAKES: usize = 60;

/// As many as a take gathers.
const GATHERED: usize = 500;

const AIM_MS: f64 = 50.0;

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let mut figures = Vec::new();
    for batch_max in [1, 20] {
        eprintln!("putting {JOBS} overdue jobs, {batch_max} a call");
        let server = RedisServer::start().await?;
        let fleet = Fleet { batch_max, ..Fleet::new(JOBS, LANES) };
        let interval_ms = i64::try_from(fleet.interval.as_ms())?;
        let rig = Rig::full(&server, "measured", fleet, UnixMs(T0)).await?;
        let mut minimal = Minimal::full(&server, "measured", fleet, UnixMs(T0)).await?;
        let now = UnixMs(T0 + 10 * interval_ms);
        let (mut longest_ms, mut sum_ms, mut jobs, mut minimal_ms) = (0.0_f64, 0.0, 0, 0.0);
        for _ in 0..TAKES {
            let began = server.cpu_s().await?;
            let taken = rig.taker.take(CALLS, Some(now)).await?;
            let ms = 1_000.0 * (server.cpu_s().await? - began);
            (longest_ms, sum_ms, jobs) = (longest_ms.max(ms), sum_ms + ms, jobs + served(&taken.grants));
            rig.settle(&taken.grants, now, Some(now)).await?;
            let began = server.cpu_s().await?;
            minimal.run(GATHERED).await?;
            minimal_ms += 1_000.0 * (server.cpu_s().await? - began);
        }
        let figure =
            Figure::new("backlog", longest_ms, minimal_ms / TAKES as f64, "ms of Redis CPU, longest take");
        figures.push(
            figure
                .param("jobs", JOBS)
                .param("batch", batch_max)
                .extra("mean_ms", rounded(sum_ms / TAKES as f64))
                .extra("served", jobs)
                .aim("value < 50", longest_ms < AIM_MS),
        );
    }
    Ok(figures)
}
