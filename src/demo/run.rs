//! The demo from start to summary.

use super::cloud::{CloudProcess, Figures};
use super::fleet;
use super::report::{Line, Summary};
use crate::app::{App, Servers, StartError};
use crate::local::{self, Durability, LocalError};
use crate::postgres::{self, PostgresError};
use crate::preference::connections::ConnectionError;
use crate::preference::keys::{self, KeyError, Principal};
use crate::preference::tenants::{self, TenantError};
use crate::provider::LookupError;
use crate::seal::{SealError, Sealer};
use crate::serve::{Role as Part, ServeError, serve};
use crate::settings::Settings;
use crate::watch::{self, LagReport, Stats};
use crate::words::{ProviderName, Role, TenantId, UnixMs};
use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinError;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Options of the demo.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Number of devices.
    pub devices: u32,
    /// Address of the API.
    pub listen: String,
    /// How long to run; none: until stopped.
    pub run_for: Option<Duration>,
    /// JSON lines instead of text.
    pub json: bool,
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is the error it holds")]
pub enum DemoError {
    #[error("cannot listen on {0}: {1}; choose another address with --listen")]
    Listen(String, std::io::Error),
    #[error("the simulated cloud did not start: {0}")]
    Cloud(std::io::Error),
    #[error("{0}")]
    Files(#[from] std::io::Error),
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("the server stopped before the demo ended; its log says why")]
    Ended,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Tenant(#[from] TenantError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Provider(#[from] LookupError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// Runs the demo until `run_for` is over or `stop`. Returns whether it succeeded.
pub async fn run(
    settings: Settings,
    options: &DemoOptions,
    stop: CancellationToken,
) -> Result<bool, DemoError> {
    let listener = TcpListener::bind(&options.listen)
        .await
        .map_err(|error| DemoError::Listen(options.listen.clone(), error))?;
    // A directory per run, removed at the end, so that runs do not affect each other.
    let dir: PathBuf = settings.local.dir.join(format!("demo-{}", std::process::id()));
    let servers = local::start(&dir, Durability::Scratch).await?;
    let result = with_servers(settings, options, &servers, listener, stop).await;
    servers.stop().await?;
    std::fs::remove_dir_all(&dir)?;
    result
}

async fn with_servers(
    mut settings: Settings,
    options: &DemoOptions,
    local: &local::Servers,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<bool, DemoError> {
    let servers = Servers {
        database_url: local.database_url.clone(),
        redis_url: local.redis_url.clone(),
        sealing_key: Sealer::generate_key()?,
    };
    let pool = postgres::connect(&servers.database_url, 1).await?;
    postgres::migrate(&pool).await?;
    pool.close().await;
    // Of another database.
    settings.database.read_url = SecretString::default();
    let app = App::start(settings, &servers).await?;
    let fleet = fleet::cloud(options.devices);
    let cloud = CloudProcess::start(&fleet).await.map_err(DemoError::Cloud)?;
    let tenant = tenants::ensure(&app.pool, "demo").await?;
    let meadow = &app.registry.find("meadow")?.name;
    let devices = fleet::add(&app, tenant, meadow, &fleet, &cloud.base_url, options.devices).await?;
    let url = format!("http://{}", listener.local_addr()?);
    print_start(&app, tenant, &url, devices, options.json).await?;
    let done = stop.child_token();
    let serving = serve(app.clone(), &[Part::Api, Part::Fetch, Part::Keep], Some(listener), done.clone());
    let mut serving = AbortOnDropHandle::new(tokio::spawn(serving));
    let monitored = tokio::select! {
        monitored = monitor(&app, &cloud, options, &stop) => Ok(monitored),
        result = &mut serving => Err(serve_result(result).err()),
    };
    // Join before the servers stop, so that calls in flight are recorded.
    let (last, stats) = match monitored {
        Ok(monitored) => {
            done.cancel();
            serve_result(serving.await)?;
            monitored
        }
        Err(failure) => return Err(failure.unwrap_or(DemoError::Ended)),
    };
    cloud.stop().await;
    app.pool.close().await;
    let summary = Summary::new(devices, &last, &stats);
    print(options.json, &summary, || summary.text());
    Ok(summary.is_success())
}

fn serve_result(joined: Result<Result<(), ServeError>, JoinError>) -> Result<(), DemoError> {
    Ok(joined.map_err(|_| DemoError::Ended)??)
}

/// Prints the URL and a key of each role.
async fn print_start(
    app: &App,
    tenant: TenantId,
    url: &str,
    devices: u32,
    json: bool,
) -> Result<(), DemoError> {
    let mut keys_by_role = serde_json::Map::new();
    for role in [Role::Reader, Role::User, Role::Operator] {
        let (_, key) = keys::create(&app.pool, Principal { tenant, role }, "demo", None).await?;
        keys_by_role.insert(role.to_string(), key.expose_secret().into());
    }
    let ready = serde_json::json!({"ready": true, "url": url, "keys": keys_by_role});
    print(json, &ready, || {
        let (reader, user) = (text(&keys_by_role, "reader"), text(&keys_by_role, "user"));
        format!(
            "Paceline is keeping {devices} simulated devices fresh. Look at them:\n\n  \
             curl -H 'Authorization: Bearer {reader}' {url}/v1/devices/1\n  \
             curl -H 'Authorization: Bearer {user}' -H 'Content-Type: application/json' \\\n       \
             -X PUT -d '{{\"interval\":\"15s\",\"priority\":\"high\"}}' {url}/v1/devices/1/jobs/state\n  \
             curl -H 'Authorization: Bearer {}' {url}/v1/lag\n\nCtrl-C stops it.\n",
            text(&keys_by_role, "operator")
        )
    });
    Ok(())
}

fn text<'a>(map: &'a serde_json::Map<String, serde_json::Value>, key: &str) -> &'a str {
    map.get(key).and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// Prints a line per second until the time is over.
async fn monitor(
    app: &App,
    cloud: &CloudProcess,
    options: &DemoOptions,
    stop: &CancellationToken,
) -> (Line, Stats) {
    let started = Instant::now();
    let started_at = app.clock.now();
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tick.tick().await;
    let (mut line, mut stats, mut figures) = (Line::default(), Stats::default(), Figures::default());
    loop {
        tokio::select! {
            () = stop.cancelled() => return (line, stats),
            _ = tick.tick() => {}
        }
        // If a server does not answer, the last figures are shown again.
        if let Some(found) = cloud.figures().await {
            figures = found;
        }
        if let Ok((found, lag)) = measure(app, started_at).await {
            stats = found;
            line = Line::new(started.elapsed().as_secs(), &line, &stats, &lag, &figures);
            print(options.json, &line, || line.text());
        }
        if options.run_for.is_some_and(|limit| started.elapsed() >= limit) {
            return (line, stats);
        }
    }
}

async fn measure(
    app: &App,
    started_at: UnixMs,
) -> Result<(Stats, LagReport), Box<dyn std::error::Error + Send + Sync>> {
    let now = app.clock.now();
    let meadow: Vec<ProviderName> =
        app.registry.iter().map(|p| p.name.clone()).filter(|name| name.as_str() == "meadow").collect();
    let mut stats = Stats::default();
    for name in &meadow {
        let minutes = now.0 / 60_000 - started_at.0 / 60_000 + 1;
        stats = Stats::read(&app.redis, &app.keys, name, now, minutes).await?;
    }
    Ok((stats, watch::report(&app.sources(), None, &meadow, std::collections::HashMap::new(), now).await?))
}

/// Prints JSON or text on stdout.
fn print(json: bool, value: &impl serde::Serialize, text: impl FnOnce() -> String) {
    match (json, serde_json::to_string(value)) {
        (true, Ok(line)) => println!("{line}"),
        _ => println!("{}", text()),
    }
}
