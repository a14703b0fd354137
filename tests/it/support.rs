//! Isolation on shared real servers: each test has a database cloned from a migrated template, and its own key prefix.

use paceline::app::{App, Servers};
use paceline::postgres;
use paceline::preference::{connections, devices, keys, tenants};
use paceline::provider::{Provider, Registry};
use paceline::seal::Sealer;
use paceline::settings::Settings;
use paceline::words::{ConnectionId, DeviceId, Interval, Priority, ProviderName, Role, Secrets, TenantId};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::OnceCell;

static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The URL of a test server, from the environment variable that `scripts/test` sets.
pub fn server(variable: &str) -> String {
    let advice = "run the tests with scripts/test, or run `eval \"$(scripts/servers env)\"` first";
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: {advice}"))
}

fn unique() -> String {
    format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn with_database(url: &str, name: &str) -> String {
    let (rest, _) = url.rsplit_once('/').expect("a URL with a database");
    format!("{rest}/{name}")
}

/// A migrated database, created once per run.
async fn template(base: &str) -> &'static String {
    TEMPLATE
        .get_or_init(|| async {
            let name = format!("template_{}", std::process::id());
            let mut admin = PgConnection::connect(base).await.expect("the test Postgres");
            admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a template");
            let pool = postgres::connect(&with_database(base, &name).into(), 2).await.expect("the template");
            postgres::migrate(&pool).await.expect("migrations");
            pool.close().await;
            name
        })
        .await
}

/// The URL of a new database without a schema.
pub async fn empty_database() -> SecretString {
    let (base, name) = (server("PACELINE_TEST_DATABASE_URL"), unique());
    let mut admin = PgConnection::connect(&base).await.expect("the test Postgres");
    admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a database");
    with_database(&base, &name).into()
}

/// An app with its own database and key prefix, and with the given providers instead of the shipped ones.
pub struct TestApp {
    pub app: App,
    pub tenant: TenantId,
    pub database_url: SecretString,
    pub sealing_key: SecretString,
}

impl TestApp {
    /// An app with the providers of these names and definitions.
    pub async fn with(providers: &[(&str, &str)]) -> Self {
        Self::with_settings(providers, |_| ()).await
    }

    /// An app with these providers and changed settings.
    pub async fn with_settings(providers: &[(&str, &str)], change: impl FnOnce(&mut Settings)) -> Self {
        let base = server("PACELINE_TEST_DATABASE_URL");
        let template = template(&base).await;
        let name = unique();
        let mut admin = PgConnection::connect(&base).await.expect("the test Postgres");
        admin
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}")))
            .await
            .expect("a database");
        Self::start(with_database(&base, &name), &name, providers, change).await
    }

    /// Likewise, in a database that is still empty.
    pub async fn in_database(
        url: &str,
        providers: &[(&str, &str)],
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let pool = postgres::connect(&url.into(), 2).await.expect("a database");
        postgres::migrate(&pool).await.expect("migrations");
        pool.close().await;
        Self::start(url.to_owned(), &unique(), providers, change).await
    }

    async fn start(
        database_url: String,
        name: &str,
        providers: &[(&str, &str)],
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings::load(None).expect("the defaults");
        settings.redis.prefix = format!("{name}:");
        settings.database.connections_max = 8;
        settings.providers.private_networks = providers.iter().map(|(name, _)| (*name).to_owned()).collect();
        change(&mut settings);
        let database_url: SecretString = database_url.into();
        let sealing_key = Sealer::generate_key().expect("randomness");
        let servers = Servers {
            database_url: database_url.clone(),
            redis_url: server("PACELINE_TEST_REDIS_URL").into(),
            sealing_key: sealing_key.clone(),
        };
        let mut app = App::start(settings, &servers).await.expect("an app");
        let parse = |(name, text): &(&str, &str)| {
            let name: ProviderName = name.parse().expect("a provider name");
            Provider::parse(name.clone(), &format!("{name}.toml"), text).expect("a provider")
        };
        app.registry =
            Registry::of(providers.iter().map(parse)).with_hosts(app.settings.providers.hosts.iter());
        let tenant = tenants::ensure(&app.pool, "acme").await.expect("a tenant");
        Self { app, tenant, database_url, sealing_key }
    }

    /// The same deployment with Redis at another address.
    pub async fn at_redis(mut self, url: &str) -> Self {
        self.app = self.app_at(url).await;
        self
    }

    /// The same deployment with both servers at other addresses.
    pub async fn moved(&self, database_url: &str, redis_url: &str) -> Self {
        Self {
            app: self.app_on(database_url, redis_url).await,
            tenant: self.tenant,
            database_url: database_url.into(),
            sealing_key: self.sealing_key.clone(),
        }
    }

    /// The same deployment with Postgres at another address.
    pub async fn at_postgres(mut self, url: &str) -> Self {
        self.app = self.app_on(url, &server("PACELINE_TEST_REDIS_URL")).await;
        self.database_url = url.into();
        self
    }

    /// Another process of the same deployment, its Redis at another address.
    pub async fn app_at(&self, redis_url: &str) -> App {
        use secrecy::ExposeSecret;
        self.app_on(self.database_url.expose_secret(), redis_url).await
    }

    /// Likewise, and its Postgres too.
    pub async fn app_on(&self, database_url: &str, redis_url: &str) -> App {
        let servers = Servers {
            database_url: database_url.into(),
            redis_url: redis_url.into(),
            sealing_key: self.sealing_key.clone(),
        };
        let mut app = App::start(self.app.settings.clone(), &servers).await.expect("an app");
        app.registry = self.app.registry.clone();
        app
    }

    /// Adds a connection of the tenant at a provider with this `base_url`.
    pub async fn connect(&self, provider: &str, label: &str, base_url: &str) -> ConnectionId {
        let new = connections::NewConnection {
            tenant: self.tenant,
            provider: provider.parse().expect("a name"),
            label: label.parse().expect("a label"),
            params: BTreeMap::from([("base_url".to_owned(), base_url.to_owned())]),
            secrets: Secrets::only("s3cret"),
        };
        connections::add(&self.app.pool, &self.app.sealer, new).await.expect("a connection")
    }

    /// Adds devices `d0`, `d1`, …, each with a `state` job.
    pub async fn add_devices(
        &self,
        provider: &str,
        connection: ConnectionId,
        count: usize,
        interval: &str,
    ) -> Vec<DeviceId> {
        let device = |n: usize| devices::NewDevice {
            external_id: format!("d{n}"),
            name: format!("Device {n}"),
            group: String::new(),
            jobs: vec![(
                "state".parse().expect("a name"),
                interval.parse::<Interval>().expect("an interval"),
                Priority::Normal,
            )],
        };
        let account = devices::TenantConnection {
            tenant: self.tenant,
            connection,
            provider: provider.parse().expect("a name"),
        };
        let new: Vec<_> = (0..count).map(device).collect();
        devices::add(&self.app.pool, &account, &new).await.expect("devices")
    }

    /// Creates a key of the tenant.
    pub async fn key(&self, role: Role) -> String {
        use secrecy::ExposeSecret;
        let who = keys::Principal { tenant: self.tenant, role };
        keys::create(&self.app.pool, who, "test", None).await.expect("a key").1.expose_secret().to_owned()
    }
}
