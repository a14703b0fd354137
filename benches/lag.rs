//! `lag`: how late calls reach the provider: arrival minus due time, for every grid point of every device.
//!
//! A real process with a real Postgres runs up to a thousand syncs per second. The yardstick is what the machine can
//! do: tasks that sleep until the same instants and send the same requests.

use crate::Failed;
use crate::deployment::Deployment;
use crate::figure::{Figure, rounded};
use crate::thermostats::{Arrival, SharedClock, Thermostats};
use paceline::preference::jobs;
use paceline::provider::Unit;
use paceline::schedule::offset_ms;
use paceline::words::{DeviceId, Interval, JobId};
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const INTERVAL_MS: u32 = 10_000;

/// Devices on this interval, and the p99 to reach, ms.
const CASES: &[(usize, f64, &str, &str)] =
    &[(2_000, 10.0, "p99 ≤ 10 ms", "BullMQ 99 ms, arq 101 ms"), (10_000, 25.0, "p99 ≤ 25 ms", "")];

/// A call before its due time would be a bug, but this much is tolerated since the clocks are not read at one instant.
const EARLY_MS: f64 = 50.0;

/// Time for the yardstick to open its connections.
const BARE_WARM_UP: Duration = Duration::from_secs(3);

pub async fn run(seconds: u32) -> Result<Vec<Figure>, Failed> {
    let mut figures = Vec::new();
    for (devices, most_ms, aim, peers) in CASES {
        let rate = devices * 1000 / INTERVAL_MS as usize;
        let (ours, bare) = measure(*devices, seconds).await?;
        let figure = Figure::new("lag", ours.p99_ms, bare.p99_ms, "ms, p99 of arrival − due")
            .param("rate", rate)
            .extra("p50_ms", rounded(ours.p50_ms))
            .extra("p99_ms", rounded(ours.p99_ms))
            .extra("max_ms", rounded(ours.max_ms))
            .extra("missed", ours.missed);
        figures.push(figure.aim(aim, ours.p99_ms <= *most_ms).peers(peers));
    }
    Ok(figures)
}

async fn measure(count: usize, seconds: u32) -> Result<(Lag, Lag), Failed> {
    let cloud = Thermostats::start().await?;
    let at = Deployment::start().await?;
    let connection = at.connect(&cloud.url).await?;
    let interval = Interval::from_ms(INTERVAL_MS.into()).ok_or("10 s is an interval")?;
    eprintln!("adding {count} devices");
    let devices = at.add_devices(connection, count, interval).await?;
    let grid = Grid { offsets_ms: offsets(&at, &devices).await? };

    eprintln!("the yardstick, for {seconds} s");
    let clock = SharedClock::read(&at.app.redis).await?;
    let from = Instant::now() + BARE_WARM_UP;
    let to = from + Duration::from_secs(seconds.into());
    send_bare(&grid, &cloud, clock, to).await;
    let bare = grid.lag(&cloud.arrivals(), clock, from, to);

    eprintln!("a process with the roles fetch and keep, two intervals to warm up, then {seconds} s");
    let process = at.serve("fetch,keep")?;
    cloud.wait_for_calls().await?;
    sleep(Duration::from_millis(2 * u64::from(INTERVAL_MS))).await;
    drop(cloud.arrivals());
    let clock = SharedClock::read(&at.app.redis).await?;
    // A call due now may have arrived just before the arrivals were cleared.
    let from = Instant::now() + Duration::from_secs(1);
    let to = from + Duration::from_secs(seconds.into());
    sleep_until(to + Duration::from_secs(1)).await;
    let ours = grid.lag(&cloud.arrivals(), clock, from, to);
    Deployment::kill(&mut [process]).await?;
    at.close().await?;
    Ok((ours, bare))
}

/// The offset of each device's job within its interval, ms, indexed by the number that is its external id.
async fn offsets(at: &Deployment, devices: &[DeviceId]) -> Result<Vec<f64>, Failed> {
    let numbers: HashMap<_, _> = devices.iter().enumerate().map(|(number, id)| (*id, number)).collect();
    let all = jobs::page(&at.app.pool, &at.provider, JobId(0), i64::try_from(devices.len())?).await?;
    let mut offsets = vec![None; devices.len()];
    for stored in all {
        let number = numbers.get(&stored.job.device).ok_or("a job of a device that was not added")?;
        offsets[*number] = Some(f64::from(offset_ms(&stored.job, Unit::Device, 1)));
    }
    Ok(offsets.into_iter().collect::<Option<_>>().ok_or("a device without a job")?)
}

/// Spawns a task per device that sleeps until each due time and sends a request.
async fn send_bare(grid: &Grid, cloud: &Thermostats, clock: SharedClock, to: Instant) {
    let (client, mut tasks) = (reqwest::Client::new(), JoinSet::new());
    for (device, dues) in grid.points(clock, Instant::now(), to).into_iter().enumerate() {
        let (client, url) = (client.clone(), format!("{}/{device}", cloud.url));
        tasks.spawn(async move {
            for due_ms in dues {
                sleep_until(clock.instant(due_ms)).await;
                // A request that fails does not arrive and counts as missed.
                if let Ok(response) = client.get(&url).send().await {
                    drop(response.bytes().await);
                }
            }
        });
    }
    tasks.join_all().await;
}

/// When each device's job is due.
struct Grid {
    offsets_ms: Vec<f64>,
}

/// Percentiles of arrival minus due.
struct Lag {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Due times without a call.
    missed: usize,
}

impl Grid {
    /// Each device's due times from `from` up to `to`, ms since the epoch.
    fn points(&self, clock: SharedClock, from: Instant, to: Instant) -> Vec<Vec<f64>> {
        let (from, to, interval) = (clock.unix_ms(from), clock.unix_ms(to), f64::from(INTERVAL_MS));
        let of_one = |offset: &f64| {
            let first = ((from - offset) / interval).ceil() * interval + offset;
            std::iter::successors(Some(first), |due| Some(due + interval))
                .take_while(|due| *due < to)
                .collect()
        };
        self.offsets_ms.iter().map(of_one).collect()
    }

    /// Lag of the first arrival after each due time. A skipped run counts with the arrival of the next, so that
    /// skipping never improves the figure.
    fn lag(&self, arrivals: &[Arrival], clock: SharedClock, from: Instant, to: Instant) -> Lag {
        let mut by_device: Vec<Vec<f64>> = vec![Vec::new(); self.offsets_ms.len()];
        for arrival in arrivals {
            by_device[arrival.device].push(clock.unix_ms(arrival.at));
        }
        let (end_ms, mut missed, mut lags) = (clock.unix_ms(Instant::now()), 0, Vec::new());
        for (dues, came) in self.points(clock, from, to).iter().zip(&by_device) {
            for due in dues {
                let first = came.iter().find(|at| **at >= due - EARLY_MS);
                missed += usize::from(first.is_none_or(|at| *at >= due + f64::from(INTERVAL_MS) - EARLY_MS));
                lags.push(first.unwrap_or(&end_ms) - due);
            }
        }
        lags.sort_by(f64::total_cmp);
        let share = |share: f64| {
            let rank = (lags.len() as f64 * share).ceil() as usize;
            lags.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Lag { p50_ms: share(0.5), p99_ms: share(0.99), max_ms: share(1.0), missed }
    }
}
