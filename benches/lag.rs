//! `lag`: how late calls are, seen by who is called: arrival minus due, over every point of every device's grid.
//!
//! A real process with a real Postgres, on its way from due to recorded a thousand times a second. The yardstick is
//! what the machine can do: a task that sleeps until the same instants and sends the same request.

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

/// Devices on that interval, and the p99 to reach, ms.
const CASES: &[(usize, f64, &str, &str)] =
    &[(2_000, 10.0, "p99 ≤ 10 ms", "BullMQ 99 ms, arq 101 ms"), (10_000, 25.0, "p99 ≤ 25 ms", "")];

/// Sends before their due instant would be a fault, but clocks are read a moment before and after.
const EARLY_MS: f64 = 50.0;

/// Before the yardstick counts: connections are opened.
const BARE_WARM_UP: Duration = Duration::from_secs(3);

pub async fn run(seconds: u32) -> Result<Vec<Figure>, Failed> {
    let mut figures = Vec::new();
    for (devices, most_ms, aim, peers) in CASES {
        let rate = devices * 1000 / INTERVAL_MS as usize;
        let (ours, bare) = measure(*devices, seconds).await?;
        let figure = Figure::new("lag", ours.p99_ms, bare.p99_ms, "ms, p99 of arrival − due")
            .of("rate", rate)
            .beside("p50_ms", rounded(ours.p50_ms))
            .beside("p99_ms", rounded(ours.p99_ms))
            .beside("max_ms", rounded(ours.max_ms))
            .beside("missed", ours.missed);
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
    let clock = SharedClock::ask(&at.app.redis).await?;
    let from = Instant::now() + BARE_WARM_UP;
    let to = from + Duration::from_secs(seconds.into());
    send_bare(&grid, &cloud, clock, to).await;
    let bare = grid.lag(&cloud.arrivals(), clock, from, to);

    eprintln!("a process with the roles fetch and keep, two intervals to warm up, then {seconds} s");
    let process = at.serve("fetch,keep")?;
    wait_for_calls(&cloud).await?;
    sleep(Duration::from_millis(2 * u64::from(INTERVAL_MS))).await;
    drop(cloud.arrivals());
    let clock = SharedClock::ask(&at.app.redis).await?;
    // What is due in this moment may have been counted off just before.
    let from = Instant::now() + Duration::from_secs(1);
    let to = from + Duration::from_secs(seconds.into());
    sleep_until(to + Duration::from_secs(1)).await;
    let ours = grid.lag(&cloud.arrivals(), clock, from, to);
    Deployment::end(&mut [process]).await?;
    at.close().await?;
    Ok((ours, bare))
}

/// Where in each interval each device's job is due, ms, by the number that is its external id.
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

/// A task a device that sleeps until each of its instants and sends.
async fn send_bare(grid: &Grid, cloud: &Thermostats, clock: SharedClock, to: Instant) {
    let (client, mut tasks) = (reqwest::Client::new(), JoinSet::new());
    for (device, dues) in grid.points(clock, Instant::now(), to).into_iter().enumerate() {
        let (client, url) = (client.clone(), format!("{}/{device}", cloud.url));
        tasks.spawn(async move {
            for due_ms in dues {
                sleep_until(clock.instant(due_ms)).await;
                // One that fails is missed, and counts as late.
                if let Ok(answer) = client.get(&url).send().await {
                    drop(answer.bytes().await);
                }
            }
        });
    }
    tasks.join_all().await;
}

/// Until the process calls at all.
async fn wait_for_calls(cloud: &Thermostats) -> Result<(), Failed> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while cloud.arrivals().is_empty() {
        if Instant::now() > deadline {
            return Err("the process called nobody for a minute".into());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// When jobs are due.
struct Grid {
    offsets_ms: Vec<f64>,
}

/// Percentiles of arrival minus due.
struct Lag {
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Turns for which nobody came.
    missed: usize,
}

impl Grid {
    /// Each device's due instants from `from` up to `to`, ms since the epoch.
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

    /// For every turn the first arrival after it. A turn that was skipped is as late as the next one's arrival: nothing
    /// that did not happen makes the figure better.
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
