//! `growth`: what a cycle costs among a million jobs, over what it costs among ten thousand.
//!
//! Both schedules are on one server and take turns, so that the machine's mood of the minute falls on both.

use crate::Failed;
use crate::cycle::{Pair, TURNS};
use crate::figure::Figure;
use crate::redis_server::RedisServer;
use crate::rig::Fleet;

const FEW: usize = 10_000;
const MANY: usize = 1_000_000;
const LANES: usize = 1_000;

/// Served in each, after as many to warm up.
const TURN: usize = 5_000;

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let server = RedisServer::start().await?;
    eprintln!("putting {MANY} jobs beside {FEW}");
    let mut few = Pair::new(&server, "few", Fleet::new(FEW, LANES)).await?;
    let mut many = Pair::new(&server, "many", Fleet::new(MANY, LANES)).await?;
    few.warm_up(TURN * TURNS).await?;
    many.warm_up(TURN * TURNS).await?;
    for _ in 0..TURNS {
        few.turn(&server, TURN).await?;
        many.turn(&server, TURN).await?;
    }
    let (ours, minimal) = (few.ours_per_s() / many.ours_per_s(), few.minimal_per_s() / many.minimal_per_s());
    let figure = Figure::new("growth", ours, minimal, "cost at 1,000,000 jobs / at 10,000");
    Ok(vec![figure.of("lanes", LANES).aim("value ≤ 1.5", ours <= 1.5)])
}
