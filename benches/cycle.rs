//! `cycle`: what taking and settling a job costs Redis, in steady state.
//!
//! A hundred jobs are due at a time, so that a script call is as small as it is in production; all are taken and
//! settled before time goes on. Time is handed in, so that nothing waits and only Redis's CPU counts. Turns of ours
//! and turns of the yardstick alternate: a machine that changes its pace meets both.

use crate::Failed;
use crate::figure::Figure;
use crate::minimal::{BATCH, Minimal};
use crate::redis_server::RedisServer;
use crate::rig::{Fleet, Rig, T0, served};
use paceline::words::UnixMs;

const JOBS: usize = 100_000;

/// How often the two alternate.
pub const TURNS: usize = 20;

/// As production asks: what its slots hold.
const CALLS: usize = 128;

/// The ratio to reach, if there is one.
type Aim = Option<(f64, &'static str)>;

/// Accounts, devices a call, and the aim. The headline is one device a call, which is the hardest.
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
        eprintln!("{JOBS} jobs in {lanes} lanes, {batch_max} a call");
        let server = RedisServer::start().await?;
        let fleet = Fleet { batch_max: *batch_max, ..Fleet::new(JOBS, *lanes) };
        let mut pair = Pair::new(&server, "measured", fleet).await?;
        // An interval to warm up, and one that counts: every job has its turn in each.
        pair.warm_up(JOBS).await?;
        for _ in 0..TURNS {
            pair.turn(&server, JOBS / TURNS).await?;
        }
        let mut figure = Figure::new("cycle", pair.ours_per_s(), pair.minimal_per_s(), "jobs/s of Redis CPU")
            .of("lanes", *lanes);
        if *batch_max > 1 {
            figure = figure.of("batch", *batch_max);
        }
        if let Some((least, text)) = aim {
            let met = figure.ratio() >= *least;
            figure = figure.aim(text, met);
        }
        figures.push(figure);
    }
    Ok(figures)
}

/// Ours and the yardstick, over the same jobs on the same server.
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

    /// Turns that do not count.
    pub async fn warm_up(&mut self, jobs: usize) -> Result<(), Failed> {
        self.ours.turn(jobs).await?;
        self.minimal.turn(jobs).await?;
        self.ours.served = 0;
        Ok(())
    }

    /// About so many jobs of ours, then as many members of the yardstick.
    pub async fn turn(&mut self, server: &RedisServer, jobs: usize) -> Result<(), Failed> {
        let began = server.cpu_s().await?;
        self.ours.turn(jobs).await?;
        let between = server.cpu_s().await?;
        self.minimal.turn(jobs).await?;
        let ended = server.cpu_s().await?;
        self.ours_cpu_s += between - began;
        self.minimal_cpu_s += ended - between;
        self.minimal_moved += jobs;
        Ok(())
    }

    /// Jobs taken and settled per second of Redis's CPU.
    pub fn ours_per_s(&self) -> f64 {
        self.ours.served as f64 / self.ours_cpu_s
    }

    /// Members moved there and back.
    pub fn minimal_per_s(&self) -> f64 {
        self.minimal_moved as f64 / self.minimal_cpu_s
    }
}

/// A schedule whose jobs come due evenly, all served as they do.
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

    /// Lets the time pass in which about so many jobs come due, and serves them.
    async fn turn(&mut self, jobs: usize) -> Result<(), Failed> {
        let before = self.served;
        for _ in 0..jobs / BATCH {
            self.passed_ms += self.step_ms;
            self.serve(UnixMs(T0 + self.passed_ms as i64)).await?;
        }
        let served = self.served - before;
        // The spread is even to a few jobs; shared calls come as many at a time as they serve.
        match served.abs_diff(jobs) * 10 > jobs {
            true => Err(format!("{served} jobs were served in the time of {jobs}").into()),
            false => Ok(()),
        }
    }

    /// Takes and settles until nothing that is due is left.
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
