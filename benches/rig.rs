//! A schedule on its own Redis, and the jobs in it.

use crate::Failed;
use crate::redis_server::RedisServer;
use paceline::provider::{Provider, Unit};
use paceline::redis::{Keys, Redis};
use paceline::schedule::{Entry, Queue, offset_ms};
use paceline::settings::Settings;
use paceline::take::{Grant, Settlement, Taker, TakerSettings, Verdict};
use paceline::words::{
    ConnectionId, DeviceId, End, Interval, Job, JobId, JobState, Priority, ProviderName, TenantId, UnixMs,
};

/// Start of simulated time.
pub const T0: i64 = 1_800_000_000_000;

/// Jobs per call of [`Queue::put`], so that a million jobs are never in memory at once.
const PAGE: usize = 10_000;

/// The jobs of a bench.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// Number of jobs, one per device, numbered from 1. Neighbouring numbers share a lane.
    pub jobs: usize,
    /// Number of connections; the jobs are spread over them evenly.
    pub lanes: usize,
    /// Maximum number of devices per call.
    pub batch_max: u32,
    /// The interval of every job.
    pub interval: Interval,
}

impl Fleet {
    /// Jobs with an interval of a minute and one device per call.
    pub fn new(jobs: usize, lanes: usize) -> Self {
        let interval = Interval::from_ms(60_000).unwrap_or(Interval::MAX);
        Self { jobs, lanes, batch_max: 1, interval }
    }

    /// The provider's definition. Every call checks and spends its three quotas, which never bind.
    fn definition(&self) -> String {
        let unit = if self.batch_max > 1 { "batch" } else { "device" };
        let batch_max = self.batch_max;
        format!(
            r#"
title = "Measured"
[http]
base_url = "http://127.0.0.1:9"
[[quota]]
name = "app"
scope = "app"
amount = 1_000_000
window = "1s"
burst = 500_000
[[quota]]
name = "second"
scope = "connection"
amount = 1_000_000
window = "1s"
burst = 500_000
[[quota]]
name = "hour"
scope = "connection"
amount = 1_000_000_000
window = "1h"
burst = 500_000_000
[resource.state]
unit = "{unit}"
batch_max = {batch_max}
interval_min = "1s"
interval_default = "1m"
path = "/"
records = "."
"#
        )
    }

    /// The job with this number. Priorities rotate.
    pub fn job(&self, number: usize, provider: &ProviderName) -> Result<Job, Failed> {
        let id = i64::try_from(number)?;
        let lane = (number - 1) * self.lanes / self.jobs;
        Ok(Job {
            id: JobId(id),
            tenant: TenantId(1),
            provider: provider.clone(),
            connection: ConnectionId(1 + i64::try_from(lane)?),
            device: DeviceId(id),
            group: String::new(),
            resource: "state".parse()?,
            interval: self.interval,
            priority: Priority::ALL[number % Priority::ALL.len()],
            state: JobState::Active,
            version: 1,
        })
    }

    /// The job's entry for the schedule, with its last run at `last_run`.
    pub fn entry(
        &self,
        number: usize,
        provider: &ProviderName,
        last_run: Option<UnixMs>,
    ) -> Result<Entry, Failed> {
        let job = self.job(number, provider)?;
        let unit = if self.batch_max > 1 { Unit::Batch } else { Unit::Device };
        Ok(Entry {
            offset_ms: offset_ms(&job, unit, self.batch_max),
            job,
            last_run,
            wanted_since: None,
            shared: self.batch_max > 1,
            weight: 1,
            failures: None,
        })
    }
}

/// The stages that are measured.
pub struct Rig {
    pub fleet: Fleet,
    pub provider: ProviderName,
    pub redis: Redis,
    pub queue: Queue,
    pub taker: Taker,
}

impl Rig {
    /// An empty schedule under this name.
    pub async fn empty(server: &RedisServer, name: &str, fleet: Fleet) -> Result<Self, Failed> {
        let provider: ProviderName = name.parse()?;
        let definition = Provider::parse(provider.clone(), "measured.toml", &fleet.definition())?;
        let (redis, keys, settings) = (server.redis.clone(), Keys::default(), Settings::load(None)?);
        let taker_settings = TakerSettings::of(&settings, keys.clone());
        let queue = Queue::new(redis.clone(), keys, settings.schedule.first_run_spread);
        queue.revive(&provider, false, 0, Some(UnixMs(T0 - 1))).await?;
        Ok(Self {
            taker: Taker::new(redis.clone(), &definition, &taker_settings),
            fleet,
            provider,
            redis,
            queue,
        })
    }

    /// A schedule with all jobs of the fleet, each with its last run at `last_run`.
    pub async fn full(
        server: &RedisServer,
        name: &str,
        fleet: Fleet,
        last_run: UnixMs,
    ) -> Result<Self, Failed> {
        let rig = Self::empty(server, name, fleet).await?;
        let numbers: Vec<usize> = (1..=fleet.jobs).collect();
        for page in numbers.chunks(PAGE) {
            let entry = |number: &usize| fleet.entry(*number, &rig.provider, Some(last_run));
            let entries = page.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
            rig.queue.put_at(&rig.provider, &entries, Some(last_run)).await?;
        }
        rig.queue.mark_built(&rig.provider).await?;
        Ok(rig)
    }

    /// Settles these calls as successful, sent at `sent`.
    pub async fn settle(&self, grants: &[Grant], sent: UnixMs, now: Option<UnixMs>) -> Result<(), Failed> {
        let settlement = |grant: &Grant| Settlement {
            end: End::Good,
            jobs: grant.jobs.iter().map(|job| (job.id, Verdict::Done(sent))).collect(),
            ..Settlement::unsent(grant.call)
        };
        let settlements: Vec<_> = grants.iter().map(settlement).collect();
        if settlements.is_empty() {
            return Ok(());
        }
        let stale = self.taker.settle(&settlements, now).await?.stale;
        if !stale.is_empty() {
            return Err(format!(
                "the leases of {} calls expired before settle; the machine may be too busy",
                stale.len()
            )
            .into());
        }
        Ok(())
    }
}

/// Number of jobs that these calls serve.
pub fn served(grants: &[Grant]) -> usize {
    grants.iter().map(|grant| grant.jobs.len()).sum()
}
