//! `pace`: the share of a quota that four processes use together, and how many calls an independent referee throttles.
//!
//! 2,000 devices need one call per second each, and 50 per second are allowed: unused quota is lost. Then the same with
//! one of the four killed (-9) half-way and replaced.

use crate::Failed;
use crate::deployment::Deployment;
use crate::figure::Figure;
use crate::nginx::{LoggedRequest, Referee};
use crate::thermostats::Thermostats;
use futures::future::join_all;
use paceline::words::Interval;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const RATE: u32 = 50;

/// The referee's burst. The quota does not use it: it is room for jitter on the network.
const REFEREE_BURST: u32 = 5;

const DEVICES: usize = 2_000;

/// The declared quota, without headroom. The referee's burst of five forgives calls that are up to 100 ms late; no call
/// is sent more than 80 ms late.
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

/// The first is also the keeper; it is not the one that is killed.
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
    let start_ms = at.app.redis.time_ms().await? as f64;
    sleep(half * 2).await;
    let between_ms = at.app.redis.time_ms().await? as f64;
    eprintln!("again, and one is killed half-way");
    sleep(half).await;
    let killed = processes.last_mut().ok_or("there are four")?;
    killed.kill().await?;
    *killed = at.serve("fetch")?;
    sleep(half).await;
    let end_ms = at.app.redis.time_ms().await? as f64;
    Deployment::kill(&mut processes).await?;

    let requests = referee.requests()?;
    let calm = share(&requests, 0.0, start_ms, between_ms);
    let killed = share(&requests, between_ms, between_ms, end_ms).param("killed", true);
    at.close().await?;
    check_referee(&referee).await?;
    Ok(vec![calm.peers("BullMQ, 1 per 20 ms: 0.96 and 0; Bottleneck with minTime: 1.00 and 0"), killed])
}

/// The share of the quota accepted from `from_ms` to `to_ms`. Throttled calls count from `since_ms` on, to include
/// those of the start.
fn share(requests: &[LoggedRequest], since_ms: f64, from_ms: f64, to_ms: f64) -> Figure {
    let between = |from: f64| move |it: &&LoggedRequest| it.unix_ms >= from && it.unix_ms < to_ms;
    let accepted = requests.iter().filter(between(from_ms)).filter(|it| it.status == 200).count();
    let throttled = requests.iter().filter(between(since_ms)).filter(|it| it.status == 429).count();
    let share = accepted as f64 / (f64::from(RATE) * (to_ms - from_ms) / 1000.0);
    Figure::new("pace", share, 1.0, "of the quota")
        .param("processes", ROLES.len())
        .extra("refused", throttled)
        .aim("value ≥ 0.99, none refused", share >= 0.99 && throttled == 0)
}

/// Waits for the first call.
async fn wait_for_calls(referee: &Referee) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while referee.requests()?.is_empty() {
        if Instant::now() > deadline {
            return Err("no call arrived within a minute".into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Checks that the referee throttles a burst: one that never does would prove nothing.
async fn check_referee(referee: &Referee) -> Result<(), Failed> {
    let client = reqwest::Client::new();
    let burst = (0..3 * (RATE as usize)).map(|device| client.get(format!("{}/{device}", referee.url)).send());
    let throttled = join_all(burst).await.into_iter().flatten().filter(|it| it.status() == 429).count();
    match throttled {
        0 => Err("the referee let a burst through, so its count means nothing".into()),
        _ => Ok(()),
    }
}
