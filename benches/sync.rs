//! `sync`: whole syncs per second, end to end: taken, fetched, mapped, recorded with a row of history, cached, settled.
//!
//! The cloud is quick, on this machine, and its devices are always overdue. The yardstick makes the same requests and
//! does nothing with the answers.

use crate::Failed;
use crate::cpu;
use crate::deployment::Deployment;
use crate::figure::{Figure, rounded};
use crate::thermostats::Thermostats;
use futures::stream::{self, StreamExt};
use paceline::words::Interval;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const DEVICES: usize = 20_000;
/// Requests in flight per process, as the definition says.
const AT_ONCE: usize = 256;
const WARM_UP: Duration = Duration::from_secs(5);
const QUOTA: &str = r#"
[[quota]]
name = "second"
scope = "app"
amount = 1_000_000
window = "1s"
burst = 500_000
"#;

pub async fn run(seconds: u32) -> Result<Vec<Figure>, Failed> {
    let measured = Duration::from_secs(seconds.into());
    let mut figures = Vec::new();
    for processes in [1, 2] {
        eprintln!("{processes} worker processes");
        figures.push(measure(processes, measured).await?);
    }
    Ok(figures)
}

async fn measure(processes: usize, measured: Duration) -> Result<Figure, Failed> {
    let cloud = Thermostats::start().await?;
    let at = Deployment::with_quota(QUOTA).await?;
    let bare = bare_per_s(&cloud, processes * AT_ONCE, measured).await;
    cloud.arrivals();
    let connection = at.connect(&cloud.url).await?;
    let second = Interval::from_ms(1_000).ok_or("1 s is an interval")?;
    at.add_devices(connection, DEVICES, second).await?;
    let roles = ["fetch,keep", "fetch"];
    let mut workers =
        roles.iter().take(processes).map(|roles| at.serve(roles)).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<u32> = workers.iter().filter_map(tokio::process::Child::id).collect();
    cloud.wait_for_calls().await?;
    sleep(WARM_UP).await;

    let before = Cpu::now(&at, &ids).await?;
    cloud.arrivals();
    let (began, recorded) = (Instant::now(), readings(&at).await?);
    sleep(measured).await;
    let (arrived, took) = (cloud.arrivals().len(), began.elapsed());
    let after = Cpu::now(&at, &ids).await?;
    let recorded = readings(&at).await? - recorded;
    Deployment::kill(&mut workers).await?;
    at.close().await?;

    let per_s = recorded as f64 / took.as_secs_f64();
    let us = |before: f64, after: f64| rounded(1e6 * (after - before) / recorded as f64);
    let met = per_s >= 0.5 * bare;
    Ok(Figure::new("sync", per_s, bare, "syncs/s, each with a row of history")
        .param("processes", processes)
        .extra("requests_per_s", rounded(arrived as f64 / took.as_secs_f64()))
        .extra("paceline_us", us(before.paceline_s, after.paceline_s))
        .extra("redis_us", us(before.redis_s, after.redis_s))
        .extra("postgres_us", us(before.postgres_s, after.postgres_s))
        .extra("cloud_us", us(before.cloud_s, after.cloud_s))
        .aim("ratio ≥ 0.5", met))
}

/// CPU time so far.
struct Cpu {
    paceline_s: f64,
    redis_s: f64,
    postgres_s: f64,
    /// This process: the cloud.
    cloud_s: f64,
}

impl Cpu {
    async fn now(at: &Deployment, workers: &[u32]) -> Result<Self, Failed> {
        let workers = workers.iter().map(|id| cpu::process_s(*id)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            paceline_s: workers.iter().sum(),
            redis_s: at.redis_cpu_s().await?,
            postgres_s: cpu::family_s(at.postgres_pid().await?)?,
            cloud_s: cpu::own_s()?,
        })
    }
}

/// Rows of history so far.
async fn readings(at: &Deployment) -> Result<i64, Failed> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM readings").fetch_one(&at.app.pool).await?)
}

/// GETs per second of a bare client.
async fn bare_per_s(cloud: &Thermostats, at_once: usize, measured: Duration) -> f64 {
    let client = reqwest::Client::new();
    let deadline = Instant::now() + measured;
    let began = Instant::now();
    let urls = (0_usize..).map(|n| format!("{}/{}", cloud.url, n % DEVICES));
    let answered = stream::iter(urls)
        .take_while(|_| std::future::ready(Instant::now() < deadline))
        .map(|url| {
            let client = client.clone();
            async move {
                let answer = client.get(url).send().await;
                match answer {
                    Ok(answer) => answer.bytes().await.is_ok(),
                    Err(_) => false,
                }
            }
        })
        .buffer_unordered(at_once)
        .filter(|answered| std::future::ready(*answered))
        .count()
        .await;
    answered as f64 / began.elapsed().as_secs_f64()
}
