//! What all parts of a process share, built once.

mod cards;
mod client;
mod detached;
mod refill;
mod reload;

pub use cards::{CACHE_TIMEOUT, DeviceLatest};
pub use client::ProviderClient;
pub use detached::TaskFailed;
pub use refill::RefillFailed;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::fetch::Pusher;
use crate::incident::{Monitor, Rules};
use crate::postgres::{self, Pool, PostgresError, Reads};
use crate::provider::{LoadError, Registry};
use crate::redis::{self, Keys, Redis, RedisError};
use crate::schedule::Queue;
use crate::seal::{SealError, Sealer};
use crate::settings::{self, Database, Settings};
use crate::supervise::Supervisor;
use crate::take::TakerSettings;
use crate::token::CanaryError;
use crate::watch::Sources;
use crate::words::{Interval, UnixMs};
use secrecy::SecretString;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Handles to the servers and what is built from the settings.
#[derive(Clone)]
pub struct App {
    /// The settings.
    pub settings: Settings,
    /// Postgres.
    pub pool: Pool,
    /// Postgres or a replica, for lists and counts.
    pub reads: Reads,
    /// The same for the history: a few of the connections, as its questions take longer than others.
    pub history: Reads,
    /// Redis.
    pub redis: Redis,
    /// Redis's key names.
    pub keys: Keys,
    /// The providers.
    pub registry: Registry,
    /// The schedule.
    pub queue: Queue,
    /// The cache.
    pub cache: Cache,
    /// Incidents of providers.
    pub incidents: Monitor,
    /// Credentials at rest.
    pub sealer: Sealer,
    /// The time by Redis's clock.
    pub clock: Clock,
    /// Tasks that must finish even if the caller goes away.
    pub detached: TaskTracker,
    /// Restarts long-lived tasks that panic.
    pub supervisor: Supervisor,
    clients: client::Clients,
    pusher: Arc<OnceLock<Pusher>>,
    refills: refill::Refills,
}

/// Why a process cannot start. Each error says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// A provider's file.
    #[error(transparent)]
    Provider(#[from] LoadError),
    /// The sealing key.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The sealing key is another than that of what is stored.
    #[error(transparent)]
    Canary(#[from] CanaryError),
}

/// The servers to use, and the key that opens what is sealed there.
pub struct Servers {
    /// Postgres.
    pub database_url: SecretString,
    /// Redis.
    pub redis_url: SecretString,
    /// The sealing key.
    pub sealing_key: SecretString,
}

impl App {
    /// Connects to both servers and loads the providers.
    pub async fn start(settings: Settings, servers: &Servers) -> Result<Self, StartError> {
        // TLS by ring, for every client of the process. An error means that it is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let registry = Registry::load(settings.providers.dir())?.with_hosts(settings.providers.hosts.iter());
        let sealer = Sealer::with_former(&servers.sealing_key, settings.secret.former_keys.as_slice())?;
        let pool = postgres::connect(&servers.database_url, settings.database.connections_max).await?;
        let Database { read_url, connections_max, .. } = &settings.database;
        let reads = Reads::new(pool.clone(), read_url, *connections_max)?;
        let history = reads.beside(pool.share(history_share(*connections_max) as usize));
        let redis = redis::connect(&servers.redis_url).await?;
        redis.check().await?;
        let keys = Keys::new(&settings.redis.prefix);
        let clock = Clock::default();
        clock.learn(UnixMs(redis.time_ms().await?));
        Ok(Self {
            queue: Queue::new(redis.clone(), keys.clone(), settings.schedule.first_run_spread),
            cache: Cache::new(redis.clone(), keys.clone(), settings.cache.ttl.as_ms() / 1000),
            incidents: Monitor::new(redis.clone(), keys.clone(), rules(&settings.incident)),
            settings,
            pool,
            reads,
            history,
            redis,
            keys,
            registry,
            sealer,
            clock,
            detached: TaskTracker::new(),
            supervisor: Supervisor::default(),
            clients: client::Clients::default(),
            pusher: Arc::default(),
            refills: refill::Refills::default(),
        })
    }

    /// The same for the API beside the work: readers never hold all connections to Postgres.
    pub fn for_readers(&self) -> Self {
        let all = self.settings.database.connections_max;
        let work = (all / 4).max(1);
        let others = all.saturating_sub(work + history_share(all));
        let pool = self.pool.share(others.max(1) as usize);
        Self { reads: self.reads.beside(pool.clone()), pool, ..self.clone() }
    }

    /// How calls are granted.
    pub fn taker_settings(&self) -> TakerSettings {
        TakerSettings::of(&self.settings, self.keys.clone())
    }

    /// Where lag reports read.
    pub fn sources(&self) -> Sources<'_> {
        Sources {
            reads: &self.reads,
            redis: &self.redis,
            keys: &self.keys,
            grace_share: self.settings.fresh.grace_share,
            grace_min_ms: self.settings.fresh.grace_min.as_ms() as f64,
        }
    }

    /// How long a process that is stopped waits for what it began.
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.settings.shutdown.grace.as_ms())
    }

    /// How much later than its interval a reading still counts as fresh, ms.
    pub fn grace_ms(&self, interval: Interval) -> i64 {
        let fresh = &self.settings.fresh;
        let share = (interval.as_ms() as f64 * fresh.grace_share) as i64;
        share.max(fresh.grace_min.as_ms() as i64)
    }
}

/// Of so many connections, those that questions about the history hold at most.
fn history_share(connections_max: u32) -> u32 {
    (connections_max / 8).max(1)
}

fn rules(settings: &settings::Incident) -> Rules {
    Rules {
        window_ms: settings.window.as_ms(),
        connections_min: settings.connections_min,
        share: settings.share,
        probe_ms: settings.probe.as_ms(),
        probe_max_ms: settings.probe_cap.as_ms(),
    }
}
