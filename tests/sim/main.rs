//! A simulator that is a test: the real scripts on a real Redis, time in steps, and everything that can go wrong.
//!
//! A run is made from a seed. `SIM_SEED=17` runs one and prints every step, `SIM_SEEDS=100 SIM_FROM=1000` runs so many
//! from there on, `SIM_FILE=fixtures/seeds/x.toml` runs one that was kept. What once failed is kept and run again.

mod chance;
mod cloud;
mod far;
mod holds;
mod limits;
mod model;
mod overload;
mod owner;
mod quota_inputs;
mod referee;
mod rig;
mod scarce;
mod scenario;
mod server;
mod shrink;
#[path = "broken.rs"]
mod slow_broken;
mod twin;
mod worker;
mod world;

use limits::Limits;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Runs all of them, and fails with the first that fails.
async fn hold(runs: impl IntoIterator<Item = Limits>) {
    let (mut calls, mut simulated_ms, mut fullest, mut seeds) = (0, 0, 0.0_f64, 0);
    for limits in runs {
        let run = shrink::check(&limits).await.unwrap_or_else(|failure| panic!("{failure}"));
        (calls, simulated_ms, seeds) = (calls + run.calls, simulated_ms + run.simulated_ms, seeds + 1);
        fullest = fullest.max(run.fullest);
    }
    println!(
        "{seeds} seeds, {calls} calls, {} s simulated, fullest window {fullest:.2}",
        simulated_ms / 1_000
    );
}

#[tokio::test]
async fn invariants_hold_over_many_seeds() {
    hold(seeds(8)).await;
}

#[tokio::test]
async fn invariants_hold_with_little_room_for_each_account() {
    hold(seeds(4).map(Limits::with_room)).await;
}

/// Those that the environment names, or the first ones.
fn seeds(usual: u64) -> impl Iterator<Item = Limits> {
    let from = number("SIM_SEED").or_else(|| number("SIM_FROM")).unwrap_or(1);
    let count = if number("SIM_SEED").is_some() { 1 } else { number("SIM_SEEDS").unwrap_or(usual) };
    (from..from + count).map(Limits::of)
}

#[tokio::test]
async fn invariants_hold_for_seeds_that_once_failed() {
    hold(limits::kept("fixtures/seeds").into_iter().map(|(_, limits)| limits)).await;
}
