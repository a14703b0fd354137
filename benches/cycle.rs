//! `cycle`: Redis's CPU time to take and settle a job, in steady state.
//!
//! A hundred jobs come due at a time, so that script calls are as small as in production; all are taken and settled
//! before time advances. Time is simulated, so nothing waits and only Redis's CPU counts. Rounds of Paceline and of the
//! yardstick alternate, so that a change of the machine's speed affects both.

use crate::Failed;
use crate::figure::Figure;
use crate::minimal::{BATCH, Minimal};
use crate::redis_server::RedisServer;
use crate::rig::{Fleet, Rig, T0, served};
use paceline::words::UnixMs;

const JOBS: usize = 100_000;

/// Number of alternating rounds.
pub const ROUNDS: usize = 20;

/// Calls per take, as many as a worker process asks for.
const CALLS: usize = 128;

/// The ratio to reach, if any.
type Aim = Option<(f64, &'static str)>;

/// Connections, devices per call, and the aim. One device per call is the hardest case and the headline.
const CASES: &[(usize, u32, Aim)] = &[
    (1, 1, Some((0.3, "ratio ≥ 0.3"))),
    (1_000, 1, Some((0.3, "ratio ≥ 0.3"))),
    (20_000, 1, Some((0.2, "ratio ≥ 0.2"))),
    (1, 20, None),
    (1_000, 20, None),
];

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let mut figures = Vec::new();
    for (lanes, batch_max, aim) in CASES {
        eprintln!("{JOBS} jobs in {lanes} lanes, {batch_max} per call");
        let server = RedisServer::start().await?;
        let fleet = Fleet { batch_max: *batch_max, ..Fleet::new(JOBS, *lanes) };
        let mut pair = Pair::new(&server, "measured", fleet).await?;
        // One interval to warm up and one that counts; every job runs once in each.
        pair.warm_up(JOBS).await?;
        for _ in 0..ROUNDS {
            pair.run(&server, JOBS / ROUNDS).await?;
        }
        let mut figure = Figure::new("cycle", pair.ours_per_s(), pair.minimal_per_s(), "jobs/s of Redis CPU")
            .param("lanes", *lanes);
        if *batch_max > 1 {
            figure = figure.param("batch", *batch_max);
        }
        if let Some((least, text)) = aim {
            let met = figure.ratio() >= *least;
            figure = figure.aim(text, met);
        }
        figures.push(figure);
    }
    Ok(figures)
}

/// Paceline and the yardstick with the same jobs on the same server.
pub struct Pair {
    ours: Steady,
    minimal: Minimal,
    ours_cpu_s: f64,
    minimal_cpu_s: f64,
    minimal_moved: usize,
}

impl Pair {
    pub async fn new(server: &RedisServer, name: &str, fleet: Fleet) -> Result<Self, Failed> {
        let ours = Steady::new(Rig::full(server, name, fleet, UnixMs(T0)).await?);
        let minimal = Minimal::full(server, name, fleet, UnixMs(T0)).await?;
        Ok(Self { ours, minimal, ours_cpu_s: 0.0, minimal_cpu_s: 0.0, minimal_moved: 0 })
    }

    /// Runs jobs that do not count.
    pub async fn warm_up(&mut self, jobs: usize) -> Result<(), Failed> {
        self.ours.run(jobs).await?;
        self.minimal.run(jobs).await?;
        self.ours.served = 0;
        Ok(())
    }

    /// Runs about `jobs` jobs, then as many members of the yardstick.
    pub async fn run(&mut self, server: &RedisServer, jobs: usize) -> Result<(), Failed> {
        let start = server.cpu_s().await?;
        self.ours.run(jobs).await?;
        let between = server.cpu_s().await?;
        self.minimal.run(jobs).await?;
        let end = server.cpu_s().await?;
        self.ours_cpu_s += between - start;
        self.minimal_cpu_s += end - between;
        self.minimal_moved += jobs;
        Ok(())
    }

    /// Jobs taken and settled per second of Redis's CPU.
    pub fn ours_per_s(&self) -> f64 {
        self.ours.served as f64 / self.ours_cpu_s
    }

    /// Members moved from due to leased and back, per second of Redis's CPU.
    pub fn minimal_per_s(&self) -> f64 {
        self.minimal_moved as f64 / self.minimal_cpu_s
    }
}

/// A schedule whose jobs come due evenly and are served at once.
struct Steady {
    rig: Rig,
    passed_ms: f64,
    step_ms: f64,
    served: usize,
}

impl Steady {
    fn new(rig: Rig) -> Self {
        let step_ms = rig.fleet.interval.as_ms() as f64 * BATCH as f64 / rig.fleet.jobs as f64;
        Self { rig, passed_ms: 0.0, step_ms, served: 0 }
    }

    /// Advances time until about `jobs` jobs have come due, and serves them.
    async fn run(&mut self, jobs: usize) -> Result<(), Failed> {
        let before = self.served;
        for _ in 0..jobs / BATCH {
            self.passed_ms += self.step_ms;
            self.serve(UnixMs(T0 + self.passed_ms as i64)).await?;
        }
        let served = self.served - before;
        // Due times are spread evenly up to a few jobs; jobs of a shared call come due together.
        match served.abs_diff(jobs) * 10 > jobs {
            true => Err(format!("{served} jobs were served in the time in which {jobs} come due").into()),
            false => Ok(()),
        }
    }

    /// Takes and settles until no due job is left.
    async fn serve(&mut self, now: UnixMs) -> Result<(), Failed> {
        loop {
            let taken = self.rig.taker.take(CALLS, Some(now)).await?;
            self.rig.settle(&taken.grants, now, Some(now)).await?;
            self.served += served(&taken.grants);
            if taken.wake_in_ms != 0.0 {
                return Ok(());
            }
        }
    }
}
