//! `idle`: the CPU cost of a large deployment that is almost idle: 100,000 devices refreshed once a day.

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

/// The aim: less than this share of a core, in %, for Paceline and Redis together.
const AIM_PERCENT: f64 = 2.0;

/// Time for a started process to become idle.
const STARTUP: Duration = Duration::from_secs(5);

pub async fn run(seconds: u32) -> Result<Vec<Figure>, Failed> {
    let cloud = Thermostats::start().await?;
    // All shipped definitions are loaded too, as in a real deployment.
    let at = Deployment::start().await?;
    eprintln!("{DEVICES} devices at {ACCOUNTS} accounts, once a day each");
    let interval = Interval::from_ms(DAY_MS).unwrap_or(Interval::MAX);
    for account in 0..ACCOUNTS {
        let connection = at.connect_as(&format!("account {account}"), &cloud.url).await?;
        at.add_devices(connection, DEVICES / ACCOUNTS, interval).await?;
    }
    // Otherwise the measurement would include the first run of every job.
    at.mark_all_fetched().await?;
    keep::rebuild_if_lost(&at.app, &at.provider).await?;
    keep::drain(&at.app).await?;

    let process = at.serve("api,fetch,keep")?;
    let pid = process.id().ok_or("paceline serve exited at once")?;
    sleep(STARTUP).await;
    cloud.arrivals();
    let (ours, redis, started) = (cpu::process_s(pid)?, at.redis_cpu_s().await?, Instant::now());
    sleep(Duration::from_secs(u64::from(seconds))).await;
    let took_s = started.elapsed().as_secs_f64();
    let share = |spent_s: f64| 100.0 * spent_s / took_s;
    let (ours, redis) = (share(cpu::process_s(pid)? - ours), share(at.redis_cpu_s().await? - redis));
    let syncs = cloud.arrivals().len();
    Deployment::kill(&mut [process]).await?;
    at.close().await?;
    Ok(vec![
        Figure::new("idle", ours + redis, AIM_PERCENT, "% of a core")
            .param("devices", DEVICES)
            .extra("paceline", rounded(ours))
            .extra("redis", rounded(redis))
            .extra("syncs", syncs)
            .aim("value < 2", ours + redis < AIM_PERCENT),
    ])
}
