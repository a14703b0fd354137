//! How fast Paceline is, each figure beside a yardstick measured in the same run: `scripts/bench` runs it.
//!
//! A machine that is slow or busy slows both alike, so the ratio is what to compare from one day, or one machine, to
//! the next. Redis is a server of the bench's own, with nobody else on it, so that its CPU is the bench's alone.

mod cpu;
mod cycle;
mod deployment;
mod dispatch;
mod figure;
mod growth;
mod idle;
mod lag;
mod mapping;
mod memory;
mod minimal;
mod nginx;
mod pace;
mod redis_server;
mod register;
mod reprioritise;
mod rig;
mod thermostats;

use clap::{Parser, ValueEnum};
use figure::Figure;
use std::process::ExitCode;
use tokio::signal::ctrl_c;
use tokio::signal::unix::{SignalKind, signal};

/// What a bench can fail by: it is told, and nothing acts on it.
type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(name = "scripts/bench", about = "Measures Paceline beside yardsticks")]
struct Args {
    /// Which to run; all when absent
    name: Option<Bench>,
    /// One line of JSON a figure on stdout, and nothing else there
    #[arg(long)]
    json: bool,
    /// How long `pace` (60), `idle` (30) and `lag` (20) measure; shorter is for trying them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..))]
    seconds: Option<u32>,
    /// `cargo bench` says so; `cargo test --all-targets` does not
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Jobs taken and settled per second of Redis CPU
    Cycle,
    /// Redis bytes per job
    Memory,
    /// What a million jobs make a cycle cost, over ten thousand
    Growth,
    /// Adding jobs
    Register,
    /// Changing intervals one by one
    Reprioritise,
    /// Claim, no-op, settle: one worker process and a backlog
    Dispatch,
    /// Send time minus due time, of real processes
    Lag,
    /// The share of a core that 100,000 devices cost that are asked once a day
    Idle,
    /// From an answer's bytes to the readings of 300 devices
    Mapping,
    /// The share of a quota that four processes use, and what a referee refuses them
    Pace,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if !args.bench {
        eprintln!("nothing measured: run scripts/bench");
        return ExitCode::SUCCESS;
    }
    tokio::select! {
        code = run_all(&args) => code,
        // Dropping what runs ends its servers and processes.
        () = interrupted() => ExitCode::from(130),
    }
}

/// Until Ctrl-C or SIGTERM.
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
        Bench::Register => register::run().await,
        Bench::Reprioritise => reprioritise::run().await,
        Bench::Dispatch => dispatch::run().await,
        Bench::Lag => lag::run(seconds.unwrap_or(20)).await,
        Bench::Idle => idle::run(seconds.unwrap_or(30)).await,
        Bench::Mapping => mapping::run().await,
        Bench::Pace => pace::run(seconds.unwrap_or(60)).await,
    }
}
