//! The real thing: Postgres, Redis, a provider's file, and `paceline serve` processes on them.

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

/// As many as an import adds at a time.
const PAGE: usize = 1_000;

/// A provider that answers one device a call, and sets no limit that anybody would feel.
const GENEROUS: &str = r#"
[[quota]]
name = "second"
scope = "app"
amount = 100_000
window = "1s"
burst = 10_000
"#;

/// One tenant's deployment: a database and a Redis of its own.
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
    /// With a provider that has no limit to speak of.
    pub async fn start() -> Result<Self, Failed> {
        Self::with_quota(GENEROUS).await
    }

    /// With a provider of these `[[quota]]` tables.
    pub async fn with_quota(quota: &str) -> Result<Self, Failed> {
        let admin_url = std::env::var("PACELINE_TEST_DATABASE_URL")
            .map_err(|_| "PACELINE_TEST_DATABASE_URL is not set: run this by scripts/bench")?;
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

    /// An account at the provider, who lives at `base_url`.
    pub async fn connect(&self, base_url: &str) -> Result<ConnectionId, Failed> {
        self.connect_as("main", base_url).await
    }

    /// One of several accounts, each with a label of its own.
    pub async fn connect_as(&self, label: &str, base_url: &str) -> Result<ConnectionId, Failed> {
        let new = NewConnection {
            tenant: self.tenant,
            provider: self.provider.clone(),
            label: label.to_owned(),
            params: BTreeMap::from([("base_url".to_owned(), base_url.to_owned())]),
            secrets: paceline::words::Secrets::default(),
        };
        Ok(connections::add(&self.app.pool, &self.app.sealer, new).await?)
    }

    /// Devices `0`, `1`, … with a job each, in their order.
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

    /// Gives every device a reading of this moment: the next is due at the next point of its grid.
    pub async fn as_though_all_had_run(&self) -> Result<(), Failed> {
        let all = "INSERT INTO latest (tenant_id, device_id, resource, job_id, fetched_at, changed_at, online, \
                   \"values\", content_hash, fence) \
                   SELECT tenant_id, device_id, resource, job_id, now(), now(), true, '{}', '', 0 FROM jobs";
        sqlx::query(all).execute(&self.app.pool).await?;
        // As it would be in a deployment that has been up for a while.
        sqlx::query("ANALYZE").execute(&self.app.pool).await?;
        Ok(())
    }

    /// What all threads of its Redis have spent, s.
    pub async fn redis_cpu_s(&self) -> Result<f64, Failed> {
        self.redis.cpu_of_all_s().await
    }

    /// A `paceline serve` process with these roles; it is killed when this is dropped.
    pub fn serve(&self, roles: &str) -> Result<Child, Failed> {
        let child = Command::new(env!("CARGO_BIN_EXE_paceline"))
            .args(["serve", "--roles", roles])
            .env("PACELINE__DATABASE__URL", self.servers.database_url.expose_secret())
            .env("PACELINE__REDIS__URL", self.servers.redis_url.expose_secret())
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

    /// Ends these processes (-9). One that had ended by itself spoiled the figure.
    pub async fn end(processes: &mut [Child]) -> Result<(), Failed> {
        for process in processes {
            if let Some(status) = process.try_wait()? {
                return Err(format!("paceline serve ended while it was measured: {status}").into());
            }
            process.kill().await?;
        }
        Ok(())
    }

    /// Drops the database. Nobody may serve any more.
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
