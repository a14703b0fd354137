//! `pace`: the share of a quota that four processes together make use of, and what a referee of nobody's here refuses.
//!
//! 2,000 devices want a call a second each, and 50 a second are allowed: whatever is not used is lost. Then the same
//! with one of the four killed (-9) half-way, and another in its place.

use crate::Failed;
use crate::deployment::Deployment;
use crate::figure::Figure;
use crate::nginx::{Judged, Referee};
use crate::thermostats::Thermostats;
use futures::future::join_all;
use paceline::words::Interval;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const RATE: u32 = 50;

/// How many may come early at the referee. The quota does not use it: it is the room for jitter on the way.
const REFEREE_BURST: u32 = 5;

const DEVICES: usize = 2_000;

/// The quota as the provider's file declares it: all of it, with nothing kept back. The burst of five is 100 ms of
/// calls that may come late: the limiter forgives that much, and none is sent later than a little less.
const QUOTA: &str = r#"
[[quota]]
name = "second"
scope = "app"
amount = 50
window = "1s"
burst = 1
headroom = 0.0
forgives_ms = 80
"#;

/// One keeps the schedule as well; it is not the one that is killed.
const ROLES: [&str; 4] = ["fetch,keep", "fetch", "fetch", "fetch"];

const WARM_UP: Duration = Duration::from_secs(5);

pub async fn run(seconds: u32) -> Result<Vec<Figure>, Failed> {
    let cloud = Thermostats::start().await?;
    let referee = Referee::start(cloud.port, RATE, REFEREE_BURST).await?;
    let at = Deployment::with_quota(QUOTA).await?;
    let connection = at.connect(&referee.url).await?;
    let second = Interval::from_ms(1_000).ok_or("1 s is an interval")?;
    at.add_devices(connection, DEVICES, second).await?;
    let mut processes = ROLES.iter().map(|roles| at.serve(roles)).collect::<Result<Vec<_>, _>>()?;
    wait_for_calls(&referee).await?;
    sleep(WARM_UP).await;

    let half = Duration::from_secs(seconds.into()) / 2;
    eprintln!("four processes, for {seconds} s");
    let began_ms = at.app.redis.time_ms().await? as f64;
    sleep(half * 2).await;
    let between_ms = at.app.redis.time_ms().await? as f64;
    eprintln!("again, and one is killed half-way");
    sleep(half).await;
    let killed = processes.last_mut().ok_or("there are four")?;
    killed.kill().await?;
    *killed = at.serve("fetch")?;
    sleep(half).await;
    let ended_ms = at.app.redis.time_ms().await? as f64;
    Deployment::end(&mut processes).await?;

    let judged = referee.judged()?;
    let calm = share(&judged, 0.0, began_ms, between_ms);
    let killed = share(&judged, between_ms, between_ms, ended_ms).of("killed", true);
    at.close().await?;
    prove(&referee).await?;
    Ok(vec![calm.peers("BullMQ, 1 per 20 ms: 0.96 and 0; Bottleneck with minTime: 1.00 and 0"), killed])
}

/// What was accepted from `from_ms` to `to_ms`, of what was allowed. Refusals count from `since_ms` on: those of the
/// start too.
fn share(judged: &[Judged], since_ms: f64, from_ms: f64, to_ms: f64) -> Figure {
    let between = |from: f64| move |it: &&Judged| it.unix_ms >= from && it.unix_ms < to_ms;
    let accepted = judged.iter().filter(between(from_ms)).filter(|it| it.status == 200).count();
    let refused = judged.iter().filter(between(since_ms)).filter(|it| it.status == 429).count();
    let share = accepted as f64 / (f64::from(RATE) * (to_ms - from_ms) / 1000.0);
    Figure::new("pace", share, 1.0, "of the quota")
        .of("processes", ROLES.len())
        .beside("refused", refused)
        .aim("value ≥ 0.99, none refused", share >= 0.99 && refused == 0)
}

/// Until the first call has come through.
async fn wait_for_calls(referee: &Referee) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while referee.judged()?.is_empty() {
        if Instant::now() > deadline {
            return Err("the processes called nobody for a minute".into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A referee that never refuses proves nothing: a burst must meet its 429s.
async fn prove(referee: &Referee) -> Result<(), Failed> {
    let client = reqwest::Client::new();
    let burst = (0..3 * (RATE as usize)).map(|device| client.get(format!("{}/{device}", referee.url)).send());
    let refused = join_all(burst).await.into_iter().flatten().filter(|it| it.status() == 429).count();
    match refused {
        0 => Err("the referee let a burst through: it measures nothing".into()),
        _ => Ok(()),
    }
}
