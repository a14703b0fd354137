//! `far`: the share of a quota that two processes use whose Redis and Postgres are far away, and how many windows hold
//! more than the quota.

use crate::Failed;
use crate::deployment::Deployment;
use crate::figure::Figure;
use crate::thermostats::Thermostats;
use crate::wire::Wire;
use paceline::words::Interval;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const AMOUNT: usize = 200;
const WINDOW: Duration = Duration::from_secs(10);
/// With the usual headroom.
const QUOTA: &str = r#"
[[quota]]
name = "ten-seconds"
scope = "app"
amount = 200
window = "10s"
"#;

/// Five times what the quota allows: a device that is called is not called again before that is settled.
const DEVICES: usize = 100;

/// Round trips to Redis and to Postgres, ms.
const ROUND_TRIPS_MS: [(u64, u64); 9] =
    [(0, 0), (5, 5), (30, 30), (60, 60), (100, 100), (200, 200), (60, 0), (200, 0), (0, 200)];

/// Until the distance is known, and what opening connections took is forgotten.
const WARM_UP: Duration = Duration::from_secs(25);

pub async fn run(seconds: u32) -> Result<Vec<Figure>, Failed> {
    let mut figures = Vec::new();
    for (redis_ms, postgres_ms) in ROUND_TRIPS_MS {
        eprintln!("round trips of {redis_ms} ms to Redis and {postgres_ms} ms to Postgres");
        figures.push(measure(redis_ms, postgres_ms, Duration::from_secs(seconds.into())).await?);
    }
    Ok(figures)
}

async fn measure(redis_ms: u64, postgres_ms: u64, measured: Duration) -> Result<Figure, Failed> {
    let cloud = Thermostats::start().await?;
    let at = Deployment::with_quota(QUOTA).await?;
    let connection = at.connect(&cloud.url).await?;
    let second = Interval::from_ms(1_000).ok_or("1 s is an interval")?;
    at.add_devices(connection, DEVICES, second).await?;
    let (redis_url, database_url) = at.urls();
    let redis = Wire::far(redis_url, Duration::from_millis(redis_ms)).await;
    let postgres = Wire::far(database_url, Duration::from_millis(postgres_ms)).await;
    let through = (redis.reroute(redis_url), postgres.reroute(database_url));
    let mut processes = ["fetch,keep", "fetch"]
        .map(|roles| at.serve_at(roles, &through.0, &through.1))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    sleep(WARM_UP).await;
    let began = Instant::now();
    sleep(measured).await;
    let ended = Instant::now();
    Deployment::kill(&mut processes).await?;
    at.close().await?;

    let sent: Vec<Instant> = cloud.arrivals().into_iter().map(|arrival| arrival.at).collect();
    let excess = sent.iter().zip(sent.iter().skip(AMOUNT)).filter(|(a, b)| **b - **a < WINDOW).count();
    let count = sent.iter().filter(|at| (began..ended).contains(*at)).count();
    let allowed = AMOUNT as f64 * (ended - began).as_secs_f64() / WINDOW.as_secs_f64();
    let share = count as f64 / allowed;
    Ok(Figure::new("far", share, 1.0, "of the quota")
        .param("redis_ms", redis_ms)
        .param("postgres_ms", postgres_ms)
        .extra("excess", excess)
        .aim("value ≥ 0.95, no excess", share >= 0.95 && excess == 0))
}
