//! A real deployment: Postgres, Redis, a provider definition, and `paceline serve` processes.

use crate::Failed;
use crate::redis_server::RedisServer;
use paceline::app::{App, Servers};
use paceline::postgres;
use paceline::preference::connections::{self, NewConnection};
use paceline::preference::devices::{self, NewDevice, TenantConnection};
use paceline::preference::tenants;
use paceline::seal::Sealer;
use paceline::settings::Settings;
use paceline::words::{ConnectionId, DeviceId, Interval, Priority, ProviderName, TenantId};
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;
use tokio::process::{Child, Command};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Devices added per statement, as an import does.
const PAGE: usize = 1_000;

/// A quota that never limits these benches.
const UNLIMITED: &str = r#"
[[quota]]
name = "second"
scope = "app"
amount = 100_000
window = "1s"
burst = 10_000
"#;

/// A deployment with one tenant, its own database and its own Redis.
pub struct Deployment {
    pub app: App,
    pub tenant: TenantId,
    pub provider: ProviderName,
    redis: RedisServer,
    servers: Servers,
    admin_url: String,
    database: String,
    providers: TempDir,
}

impl Deployment {
    /// Starts one whose provider sets no effective limit.
    pub async fn start() -> Result<Self, Failed> {
        Self::with_quota(UNLIMITED).await
    }

    /// Starts one whose provider has these `[[quota]]` tables.
    pub async fn with_quota(quota: &str) -> Result<Self, Failed> {
        let admin_url = std::env::var("PACELINE_TEST_DATABASE_URL")
            .map_err(|_| "PACELINE_TEST_DATABASE_URL is not set; run scripts/bench")?;
        let database = format!("bench{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&admin_url).await?;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {database}"))).await?;
        let redis = RedisServer::start().await?;
        let providers = tempfile::tempdir()?;
        std::fs::write(providers.path().join("measured.toml"), definition(quota))?;
        let mut settings = Settings::load(None)?;
        settings.providers.dir = providers.path().to_owned();
        let (host, _) = admin_url.rsplit_once('/').ok_or("PACELINE_TEST_DATABASE_URL names no database")?;
        let servers = Servers {
            database_url: format!("{host}/{database}").into(),
            redis_url: redis.url.clone().into(),
            sealing_key: Sealer::generate_key()?,
        };
        let app = App::start(settings, &servers).await?;
        postgres::migrate(&app.pool).await?;
        let tenant = tenants::ensure(&app.pool, "acme").await?;
        let provider = "measured".parse()?;
        Ok(Self { app, tenant, provider, redis, servers, admin_url, database, providers })
    }

    /// Adds a connection at the provider, which is served at `base_url`.
    pub async fn connect(&self, base_url: &str) -> Result<ConnectionId, Failed> {
        self.connect_as("main", base_url).await
    }

    /// Adds one of several connections, each with its own label.
    pub async fn connect_as(&self, label: &str, base_url: &str) -> Result<ConnectionId, Failed> {
        let new = NewConnection {
            tenant: self.tenant,
            provider: self.provider.clone(),
            label: label.parse()?,
            params: BTreeMap::from([("base_url".to_owned(), base_url.to_owned())]),
            secrets: paceline::words::Secrets::default(),
        };
        Ok(connections::add(&self.app.pool, &self.app.sealer, new).await?)
    }

    /// Adds devices `0`, `1`, … with a job each; returns their ids in that order.
    pub async fn add_devices(
        &self,
        connection: ConnectionId,
        count: usize,
        interval: Interval,
    ) -> Result<Vec<DeviceId>, Failed> {
        let account = TenantConnection { tenant: self.tenant, connection, provider: self.provider.clone() };
        let resource: paceline::words::ResourceName = "state".parse()?;
        let device = |number: usize| NewDevice {
            external_id: number.to_string(),
            name: format!("Device {number}"),
            group: String::new(),
            jobs: vec![(resource.clone(), interval, Priority::Normal)],
        };
        let mut ids = Vec::with_capacity(count);
        for first in (0..count).step_by(PAGE) {
            let page: Vec<_> = (first..count.min(first + PAGE)).map(device).collect();
            ids.extend(devices::add(&self.app.pool, &account, &page).await?);
        }
        Ok(ids)
    }

    /// Gives every device a reading of now, so that its job is next due at the next point of its grid.
    pub async fn mark_all_fetched(&self) -> Result<(), Failed> {
        let all = "INSERT INTO latest (tenant_id, device_id, resource, job_id, fetched_at, changed_at, online, \
                   \"values\", content_hash, fence) \
                   SELECT tenant_id, device_id, resource, job_id, now(), now(), true, '{}', '', 0 FROM jobs";
        sqlx::query(all).execute(&self.app.pool).await?;
        // A deployment that has been up for a while has statistics.
        sqlx::query("ANALYZE").execute(&self.app.pool).await?;
        Ok(())
    }

    /// CPU time of all threads of its Redis, s.
    pub async fn redis_cpu_s(&self) -> Result<f64, Failed> {
        self.redis.cpu_all_threads_s().await
    }

    /// Empties its Redis.
    pub async fn flush_redis(&self) -> Result<(), Failed> {
        Ok(redis::cmd("FLUSHALL").query_async(&mut self.app.redis.link()).await?)
    }

    /// The process that starts all others of its Postgres.
    pub async fn postgres_pid(&self) -> Result<u32, Failed> {
        let file = "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)::int";
        let pid: i32 = sqlx::query_scalar(file).fetch_one(&self.app.pool).await?;
        Ok(pid.try_into()?)
    }

    /// URLs of its Redis and its database.
    pub fn urls(&self) -> (&str, &str) {
        (self.servers.redis_url.expose_secret(), self.servers.database_url.expose_secret())
    }

    /// Starts a `paceline serve` process with these roles. Dropping the handle kills it.
    pub fn serve(&self, roles: &str) -> Result<Child, Failed> {
        let (redis_url, database_url) = self.urls();
        self.serve_at(roles, redis_url, database_url)
    }

    /// Likewise, through proxies.
    pub fn serve_at(&self, roles: &str, redis_url: &str, database_url: &str) -> Result<Child, Failed> {
        let child = Command::new(env!("CARGO_BIN_EXE_paceline"))
            .args(["serve", "--roles", roles])
            .env("PACELINE__DATABASE__URL", database_url)
            .env("PACELINE__REDIS__URL", redis_url)
            .env("PACELINE__SECRET__KEY", self.servers.sealing_key.expose_secret())
            .env("PACELINE__PROVIDERS__DIR", self.providers.path())
            .env("PACELINE__PROVIDERS__PRIVATE_NETWORKS", self.provider.as_str())
            .env("PACELINE__HTTP__LISTEN", "127.0.0.1:0")
            .env("PACELINE__LOG__FILTER", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(child)
    }

    /// Kills these processes. Fails if one had exited before, since that invalidates the figure.
    pub async fn kill(processes: &mut [Child]) -> Result<(), Failed> {
        for process in processes {
            if let Some(status) = process.try_wait()? {
                return Err(format!("paceline serve exited during the measurement: {status}").into());
            }
            process.kill().await?;
        }
        Ok(())
    }

    /// Drops the database. All processes must have ended.
    pub async fn close(self) -> Result<(), Failed> {
        self.app.pool.close().await;
        let mut admin = PgConnection::connect(&self.admin_url).await?;
        admin.execute(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.database))).await?;
        drop(self.redis);
        Ok(())
    }
}

fn definition(quota: &str) -> String {
    format!(
        r#"
title = "Measured"
[http]
base_url = "{{{{ params.base_url }}}}"
timeout = "5s"
in_flight = 256
{quota}
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/{{{{ device.external_id }}}}"
records = "{{id: .id, values: .values}}"
"#
    )
}
