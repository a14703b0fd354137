//! `growth`: the cost of a cycle with a million jobs, relative to ten thousand.
//!
//! Both schedules are on one server and alternate, so that a change of the machine's speed affects both.

use crate::Failed;
use crate::cycle::{Pair, ROUNDS};
use crate::figure::Figure;
use crate::redis_server::RedisServer;
use crate::rig::Fleet;

const FEW: usize = 10_000;
const MANY: usize = 1_000_000;
const LANES: usize = 1_000;

/// Jobs per round in each schedule.
const ROUND_JOBS: usize = 5_000;

pub async fn run() -> Result<Vec<Figure>, Failed> {
    let server = RedisServer::start().await?;
    eprintln!("putting {MANY} jobs beside {FEW}");
    let mut few = Pair::new(&server, "few", Fleet::new(FEW, LANES)).await?;
    let mut many = Pair::new(&server, "many", Fleet::new(MANY, LANES)).await?;
    few.warm_up(ROUND_JOBS * ROUNDS).await?;
    many.warm_up(ROUND_JOBS * ROUNDS).await?;
    for _ in 0..ROUNDS {
        few.run(&server, ROUND_JOBS).await?;
        many.run(&server, ROUND_JOBS).await?;
    }
    let (ours, minimal) = (few.ours_per_s() / many.ours_per_s(), few.minimal_per_s() / many.minimal_per_s());
    let figure = Figure::new("growth", ours, minimal, "cost at 1,000,000 jobs / at 10,000");
    Ok(vec![figure.param("lanes", LANES).aim("value ≤ 1.5", ours <= 1.5)])
}
