//! A simulator that is a test: the real scripts on a real Redis, time in steps, and everything that can go wrong.
//!
//! A run is made from a seed. `SIM_SEED=17` runs one, `SIM_SEEDS=100 SIM_FROM=1000` so many from there on, with all
//! that is known of what fails. What once failed is kept in `fixtures/seeds` and run again.

mod chance;
mod cloud;
mod limits;
mod model;
mod owner;
mod referee;
mod rig;
mod scenario;
mod twin;
mod worker;
mod world;

use limits::Limits;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test]
async fn what_must_hold_holds_over_many_seeds() {
    let from = number("SIM_SEED").or_else(|| number("SIM_FROM")).unwrap_or(1);
    let count = if number("SIM_SEED").is_some() { 1 } else { number("SIM_SEEDS").unwrap_or(20) };
    let mut failed = 0;
    for seed in from..from + count {
        let run = world::run(&Limits::of(seed), &[]).await;
        println!("seed {seed}: {} calls, {} s, fullest {:.2}: {:?}", run.calls, run.simulated_ms / 1000, run.fullest, run.wrong);
        if !run.wrong.is_empty() {
            failed += 1;
            if count == 1 {
                println!("{}\n{}", run.text, run.log.join("\n"));
            }
        }
    }
    assert_eq!(failed, 0);
}
