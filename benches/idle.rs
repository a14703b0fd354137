//! `idle`: what a large deployment costs that has next to nothing to do: 100,000 devices asked once a day.

use crate::Failed;
use crate::cpu;
use crate::deployment::Deployment;
use crate::figure::{Figure, rounded};
use crate::thermostats::Thermostats;
use paceline::keep;
use paceline::words::Interval;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const DEVICES: usize = 100_000;
const ACCOUNTS: usize = 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The aim: at most so many % of one core, in Paceline and Redis together.
const AIM: f64 = 2.0;

/// Until a process that has just started has nothing left to do.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

pub async fn run(seconds: u32) -> Result<Vec<Figure>, Failed> {
    let cloud = Thermostats::start().await?;
    // Its provider comes beside all that are shipped.
    let at = Deployment::start().await?;
    eprintln!("{DEVICES} devices at {ACCOUNTS} accounts, once a day each");
    let interval = Interval::from_ms(DAY_MS).unwrap_or(Interval::MAX);
    for account in 0..ACCOUNTS {
        let connection = at.connect_as(&format!("account {account}"), &cloud.url).await?;
        at.add_devices(connection, DEVICES / ACCOUNTS, interval).await?;
    }
    // Else the first run of all of them would be what is measured.
    at.as_though_all_had_run().await?;
    keep::rebuild_if_lost(&at.app, &at.provider).await?;
    keep::drain(&at.app).await?;

    let process = at.serve("api,fetch,keep")?;
    let pid = process.id().ok_or("paceline serve ended at once")?;
    sleep(SETTLED_AFTER).await;
    cloud.arrivals();
    let (ours, redis, began) = (cpu::of_s(pid)?, at.redis_cpu_s().await?, Instant::now());
    sleep(Duration::from_secs(u64::from(seconds))).await;
    let took = began.elapsed().as_secs_f64();
    let share = |spent_s: f64| 100.0 * spent_s / took;
    let (ours, redis) = (share(cpu::of_s(pid)? - ours), share(at.redis_cpu_s().await? - redis));
    let syncs = cloud.arrivals().len();
    Deployment::end(&mut [process]).await?;
    at.close().await?;
    Ok(vec![
        Figure::new("idle", ours + redis, AIM, "% of a core")
            .of("devices", DEVICES)
            .beside("paceline", rounded(ours))
            .beside("redis", rounded(redis))
            .beside("syncs", syncs)
            .aim("value < 2", ours + redis < AIM),
    ])
}
