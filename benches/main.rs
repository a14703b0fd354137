//! Benches of Paceline, each beside a yardstick measured in the same run. `scripts/bench` runs them.
//!
//! A slow or busy machine slows both alike, so compare the ratio between days or machines. Each bench has its own Redis
//! server, so that its CPU time is the bench's alone.

mod backlog;
mod cpu;
mod cycle;
mod deployment;
mod dispatch;
mod far;
mod figure;
mod growth;
mod history;
mod idle;
mod lag;
mod mapping;
mod memory;
mod minimal;
mod nginx;
mod pace;
mod rebuild;
mod record;
mod redis_server;
mod register;
mod reprioritise;
mod rig;
mod sync;
mod thermostats;
#[allow(dead_code, reason = "the tests cut and silence too")]
#[path = "../tests/it/wire.rs"]
mod wire;

use clap::{Parser, ValueEnum};
use figure::Figure;
use std::process::ExitCode;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

/// An error of a bench: only printed, never handled.
type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(name = "scripts/bench", about = "Measures Paceline beside yardsticks")]
struct Args {
    /// The bench to run; all when absent
    name: Option<Bench>,
    /// Print one line of JSON per figure on stdout, and nothing else there
    #[arg(long)]
    json: bool,
    /// Seconds to measure in `pace` (default 60), `idle` (30), `far` and `lag` (20), `sync` (15); shorter only to try
    /// them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..))]
    seconds: Option<u32>,
    /// Set by `cargo bench`, not by `cargo test --all-targets`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Jobs taken and settled per second of Redis CPU
    Cycle,
    /// Redis bytes per job
    Memory,
    /// Cost of a cycle with a million jobs relative to ten thousand
    Growth,
    /// The longest take of a million overdue jobs
    Backlog,
    /// Adding jobs
    Register,
    /// Changing intervals one by one
    Reprioritise,
    /// One worker process takes and settles a backlog of no-op jobs
    Dispatch,
    /// Send time minus due time of real processes
    Lag,
    /// CPU share for 100,000 devices refreshed once a day
    Idle,
    /// Mapping a response's bytes to the readings of 300 devices
    Mapping,
    /// Readings made durable per second
    Record,
    /// Jobs per second that a lost schedule is built with
    Rebuild,
    /// Whole syncs per second, from taking to settling
    Sync,
    /// A day of readings among many, and a year of roll-ups
    History,
    /// Share of a quota that processes use whose Redis and Postgres are far away
    Far,
    /// Share of a quota that four processes use, and how many calls a referee throttles
    Pace,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if !args.bench {
        eprintln!("nothing was measured; run scripts/bench");
        return ExitCode::SUCCESS;
    }
    tokio::select! {
        code = run_all(&args) => code,
        // Dropping a running bench stops its servers and processes.
        () = interrupted() => ExitCode::from(130),
    }
}

/// Returns on Ctrl-C or SIGTERM.
async fn interrupted() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = ctrl_c() => {}
            _ = terminated.recv() => {}
        },
        Err(_) => drop(ctrl_c().await),
    }
}

async fn run_all(args: &Args) -> ExitCode {
    let chosen = match &args.name {
        Some(one) => std::slice::from_ref(one),
        None => Bench::value_variants(),
    };
    let (mut all, mut code) = (Vec::new(), ExitCode::SUCCESS);
    for bench in chosen {
        let name = bench.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        eprintln!("== {name}");
        match run(*bench, args.seconds).await {
            Ok(figures) => {
                if args.json {
                    figures.iter().for_each(|figure| println!("{}", figure.json()));
                }
                all.extend(figures);
            }
            Err(error) => {
                eprintln!("error: {name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    if !args.json && !all.is_empty() {
        println!("{}", figure::table(&all));
    }
    code
}

async fn run(bench: Bench, seconds: Option<u32>) -> Result<Vec<Figure>, Failed> {
    match bench {
        Bench::Cycle => cycle::run().await,
        Bench::Memory => memory::run().await,
        Bench::Growth => growth::run().await,
        Bench::Backlog => backlog::run().await,
        Bench::Register => register::run().await,
        Bench::Reprioritise => reprioritise::run().await,
        Bench::Dispatch => dispatch::run().await,
        Bench::Lag => lag::run(seconds.unwrap_or(20)).await,
        Bench::Idle => idle::run(seconds.unwrap_or(30)).await,
        Bench::Mapping => mapping::run().await,
        Bench::Record => record::run().await,
        Bench::Rebuild => rebuild::run().await,
        Bench::Sync => sync::run(seconds.unwrap_or(15)).await,
        Bench::History => history::run().await,
        Bench::Far => far::run(seconds.unwrap_or(20)).await,
        Bench::Pace => pace::run(seconds.unwrap_or(60)).await,
    }
}
