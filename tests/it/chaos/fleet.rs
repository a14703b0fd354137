//! Devices of a simulated cloud with a referee, and what was acknowledged of them.

use crate::support::TestApp;
use chrono::{DateTime, Utc};
use paceline::cloud::{self, CloudSettings, Limit};
use paceline::preference::connections::{self, NewConnection};
use paceline::preference::devices::{self, NewDevice, TenantConnection};
use paceline::preference::jobs::{self, JobPatch};
use paceline::words::{Priority, ProviderName, Secrets};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub const INTERVAL: Duration = Duration::from_secs(10);
const DEVICES_PER_ACCOUNT: u32 = 100;

/// The demo's, with quotas of which all devices need four fifths: in any 10 s six calls of an account, and as many of
/// all as these have.
pub fn definition(devices: u32) -> String {
    let meadow = include_str!("../../../config/providers/meadow.toml");
    let (start, rest) = meadow.split_once("# 50 in any 10 s").expect("its quotas");
    let (_, end) = rest.split_once("[resource.state]").expect("its resources");
    format!(
        "{start}[[quota]]\nname = \"10s\"\nscope = \"connection\"\namount = {}\nwindow = \"10s\"\n\
         [[quota]]\nname = \"app\"\nscope = \"app\"\namount = {}\nwindow = \"10s\"\n[resource.state]{end}",
        CALLS,
        CALLS * accounts(devices)
    )
}

/// Of an account in any 10 s.
const CALLS: u32 = 6;

fn accounts(devices: u32) -> u32 {
    devices.div_ceil(DEVICES_PER_ACCOUNT)
}

pub struct Fleet {
    base_url: String,
    cloud: JoinHandle<std::io::Result<()>>,
    jobs: Vec<i64>,
    /// By job: the priority that was acknowledged last.
    priorities: HashMap<i64, i16>,
    /// By job: a reading that Postgres had.
    readings: HashMap<i64, DateTime<Utc>>,
}

impl Fleet {
    /// Starts the cloud, and adds its devices.
    pub async fn start(t: &TestApp, devices: u32, seed: u64) -> Self {
        let accounts = accounts(devices);
        let settings = CloudSettings {
            seed,
            accounts,
            devices_per_account: devices / accounts,
            offline_share: 0.0,
            limits: vec![Limit::account(CALLS, 10_000), Limit::app(CALLS * accounts, 10_000)],
            ..CloudSettings::default()
        };
        let (ready, address) = oneshot::channel();
        let listens = move |at| ready.send(at).unwrap();
        let never = std::future::pending();
        let cloud = cloud::serve_until(settings.clone(), cloud::steady_clock(), listens, never);
        let cloud = tokio::spawn(cloud);
        let base_url = format!("http://{}", address.await.unwrap());
        let provider: ProviderName = "garden".parse().unwrap();
        for account in 0..accounts {
            let new = NewConnection {
                tenant: t.tenant,
                provider: provider.clone(),
                label: format!("home-{account}").parse().unwrap(),
                params: BTreeMap::from([("base_url".into(), base_url.clone())]),
                secrets: Secrets::only(settings.key(account)),
            };
            let connection = connections::add(&t.app.pool, &t.app.sealer, new).await.unwrap();
            let interval = format!("{}s", INTERVAL.as_secs()).parse().unwrap();
            let device = |known: cloud::CloudDevice| NewDevice {
                external_id: known.id,
                name: known.name,
                group: String::new(),
                jobs: vec![("state".parse().unwrap(), interval, Priority::Normal)],
            };
            let all: Vec<_> = settings.devices(account).map(device).collect();
            let owner = TenantConnection { tenant: t.tenant, connection, provider: provider.clone() };
            devices::add(&t.app.pool, &owner, &all).await.unwrap();
        }
        let jobs = sqlx::query_scalar("SELECT job_id FROM jobs ORDER BY job_id").fetch_all(&t.app.pool).await;
        let (priorities, readings) = (HashMap::new(), HashMap::new());
        Self { base_url, cloud, jobs: jobs.unwrap(), priorities, readings }
    }

    pub async fn now(&self, t: &TestApp) -> DateTime<Utc> {
        sqlx::query_scalar("SELECT now()").fetch_one(&t.app.pool).await.unwrap()
    }

    /// Waits until every device has a reading, and one that came after this.
    pub async fn is_fresh_since(&self, t: &TestApp, since: Option<DateTime<Utc>>) {
        while !self.stale(t, since.unwrap_or_default()).await.is_empty() {
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn stale(&self, t: &TestApp, since: DateTime<Utc>) -> Vec<(i64, String, Option<DateTime<Utc>>)> {
        sqlx::query_as(
            "SELECT j.job_id, j.state, l.fetched_at FROM jobs j
             LEFT JOIN latest l USING (tenant_id, device_id, resource)
             WHERE l.fetched_at IS NULL OR l.fetched_at <= $1 ORDER BY j.job_id",
        )
        .bind(since)
        .fetch_all(&t.app.pool)
        .await
        .unwrap()
    }

    /// For people.
    pub async fn stale_since(&self, t: &TestApp, since: DateTime<Utc>) -> String {
        let stale = self.stale(t, since).await;
        format!("{} devices have no reading since {since}; the first: {:?}", stale.len(), stale.first())
    }

    /// Changes a few jobs, and remembers what was acknowledged.
    pub async fn change_preferences(&mut self, chance: &mut StdRng, t: &TestApp) {
        for _ in 0..chance.random_range(0..10) {
            let job = self.jobs[chance.random_range(0..self.jobs.len())];
            let priority = Priority::ALL[chance.random_range(0..5)];
            match timeout(Duration::from_secs(5), change(t, job, priority)).await {
                Ok(Some(())) => drop(self.priorities.insert(job, i16::from(priority.class()))),
                // Either may be stored.
                Ok(None) | Err(_) => drop(self.priorities.remove(&job)),
            }
        }
    }

    /// Notes the readings that Postgres has now.
    pub async fn remember(&mut self, t: &TestApp) {
        let rows: Vec<(i64, DateTime<Utc>)> =
            sqlx::query_as("SELECT job_id, fetched_at FROM latest").fetch_all(&t.app.pool).await.unwrap();
        self.readings.extend(rows);
    }

    pub async fn has_what_was_acknowledged(&self, t: &TestApp) {
        let stored: Vec<(i64, i16)> =
            sqlx::query_as("SELECT job_id, priority FROM jobs").fetch_all(&t.app.pool).await.unwrap();
        let stored: HashMap<_, _> = stored.into_iter().collect();
        for (job, priority) in &self.priorities {
            assert_eq!(stored[job], *priority, "the priority of job {job}");
        }
        let latest: Vec<(i64, DateTime<Utc>)> =
            sqlx::query_as("SELECT job_id, fetched_at FROM latest").fetch_all(&t.app.pool).await.unwrap();
        let latest: HashMap<_, _> = latest.into_iter().collect();
        for (job, at) in &self.readings {
            assert!(latest.get(job) >= Some(at), "job {job}: {:?}, and {at} was there", latest.get(job));
        }
        println!("{} preferences and {} readings are there", self.priorities.len(), self.readings.len());
    }

    pub async fn referee(&self) -> Value {
        let response = reqwest::get(format!("{}/_referee", self.base_url)).await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }
}

async fn change(t: &TestApp, job: i64, priority: Priority) -> Option<()> {
    let pool = &t.app.pool;
    let stored = jobs::by_id(pool, &[job]).await.ok()?.pop()?.job;
    let device = jobs::device_of(pool, t.tenant, stored.device).await.ok()??;
    let patch = JobPatch { priority: Some(priority), ..JobPatch::default() };
    let default = stored.interval;
    jobs::set(pool, t.tenant, &device, (&stored.resource, default), &patch, None, t.app.clock.now())
        .await
        .ok()
        .map(drop)
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.cloud.abort();
    }
}
