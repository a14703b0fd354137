//! `paceline serve`, killed in the middle of its work.

use crate::metered::{DEFINITION, settings};
use crate::support::{self, TestApp};
use crate::worker::good;
use paceline::cloud::{self, CloudSettings, Limit};
use paceline::keep;
use paceline::preference::connections::{self, NewConnection};
use paceline::preference::devices::{self, NewDevice, TenantConnection};
use paceline::words::{Priority, ProviderName};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, timeout};
use wiremock::matchers::method;
use wiremock::{Mock, MockServer};

const DEVICES: u32 = 60;

/// A `paceline serve` that answers, with these settings besides.
pub async fn serve(t: &TestApp, settings: &[(&str, &str)]) -> Child {
    let mut child = serving(t, settings).spawn().unwrap();
    ready(&mut child).await;
    child
}

/// The command of a `paceline serve` with these settings besides.
pub fn serving(t: &TestApp, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command
        .args(["serve", "--json"])
        .env("PACELINE__DATABASE__URL", t.database_url.expose_secret())
        .env("PACELINE__REDIS__URL", support::server("PACELINE_TEST_REDIS_URL"))
        .env("PACELINE__REDIS__PREFIX", &t.app.settings.redis.prefix)
        .env("PACELINE__SECRET__KEY", t.sealing_key.expose_secret())
        .env("PACELINE__HTTP__LISTEN", "127.0.0.1:0")
        .env("PACELINE__SCHEDULE__FIRST_RUN_SPREAD", "2s")
        .env("PACELINE__TAKE__LEASE", "500ms")
        .envs(settings.iter().copied())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Waits until it answers.
pub async fn ready(child: &mut Child) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(ready.contains("\"ready\":true"), "{ready}");
}

/// Waits until so many devices have a reading that came after the given instant.
async fn readings_since(t: &TestApp, since: chrono::DateTime<chrono::Utc>, count: i64) {
    let arrived = async {
        let mut tick = interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let have: i64 = sqlx::query_scalar("SELECT count(*) FROM latest WHERE fetched_at > $1")
                .bind(since)
                .fetch_one(&t.app.pool)
                .await
                .unwrap();
            if have >= count {
                return;
            }
        }
    };
    timeout(Duration::from_secs(40), arrived).await.expect("readings of every device");
}

/// Waits until the schedule has every job.
async fn built(t: &TestApp, provider: &ProviderName) {
    let built = async {
        let mut tick = interval(Duration::from_millis(20));
        while !t.app.queue.is_live(provider).await.unwrap() {
            tick.tick().await;
        }
    };
    timeout(Duration::from_secs(20), built).await.expect("a built schedule");
}

#[tokio::test]
async fn slow_killed_process_loses_no_job_and_breaks_no_quota() {
    let t = TestApp::with(&[("meadow", include_str!("../../config/providers/meadow.toml"))]).await;
    let settings = CloudSettings {
        accounts: 1,
        devices_per_account: DEVICES,
        limits: vec![Limit::account(50, 10_000), Limit::app(40, 1_000)],
        ..CloudSettings::default()
    };
    let (told, address) = oneshot::channel();
    let ready = move |at| told.send(at).unwrap();
    let cloud = tokio::spawn(cloud::serve_until(
        settings.clone(),
        cloud::steady_clock(),
        ready,
        std::future::pending(),
    ));
    let base_url = format!("http://{}", address.await.unwrap());
    let provider: ProviderName = "meadow".parse().unwrap();
    let new = NewConnection {
        tenant: t.tenant,
        provider: provider.clone(),
        label: "home".parse().unwrap(),
        params: BTreeMap::from([("base_url".into(), base_url.clone())]),
        secrets: paceline::words::Secrets::only(settings.key(0)),
    };
    let connection = connections::add(&t.app.pool, &t.app.sealer, new).await.unwrap();
    let device = |known: cloud::CloudDevice| NewDevice {
        external_id: known.id,
        name: known.name,
        group: String::new(),
        jobs: vec![("state".parse().unwrap(), "2s".parse().unwrap(), Priority::Normal)],
    };
    let all: Vec<_> = settings.devices(0).map(device).collect();
    let of = TenantConnection { tenant: t.tenant, connection, provider: provider.clone() };
    devices::add(&t.app.pool, &of, &all).await.unwrap();

    let mut first = serve(&t, &[]).await;
    readings_since(&t, chrono::DateTime::UNIX_EPOCH, i64::from(DEVICES) / 2).await;
    // Calls are granted while a schedule is still being built, and a check would find that it is not.
    built(&t, &provider).await;
    first.kill().await.unwrap(); // SIGKILL
    let killed: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT now()").fetch_one(&t.app.pool).await.unwrap();
    let report = keep::check(&t.app, false).await.unwrap();
    assert!(report.clean && report.scheduled == u64::from(DEVICES), "{report:?}");

    let mut second = serve(&t, &[]).await;
    readings_since(&t, killed, i64::from(DEVICES)).await;
    let report = keep::check(&t.app, false).await.unwrap();
    assert!(report.clean && report.scheduled == u64::from(DEVICES), "{report:?}");
    second.kill().await.unwrap();
    let figures = reqwest::get(format!("{base_url}/_referee")).await.unwrap().text().await.unwrap();
    let figures: serde_json::Value = serde_json::from_str(&figures).unwrap();
    assert_eq!(figures["throttled"], 0, "{figures}");
    cloud.abort();
}

/// How long a call's lease lasts: `take.lease` and the definition's `http.timeout`.
const LEASE: Duration = Duration::from_millis(500 + 2_000);

#[tokio::test]
async fn slow_calls_of_a_killed_process_are_made_by_another_within_their_lease_and_a_second() {
    let t = TestApp::with_settings(&[("mocked", DEFINITION)], settings).await;
    let definitions = tempfile::tempdir().unwrap();
    std::fs::write(definitions.path().join("mocked.toml"), DEFINITION).unwrap();
    let own = [
        ("PACELINE__PROVIDERS__DIR", definitions.path().to_str().unwrap()),
        ("PACELINE__PROVIDERS__PRIVATE_NETWORKS", "mocked"),
    ];
    let cloud = MockServer::start().await;
    // The calls are on their way when their process is killed.
    Mock::given(method("GET"))
        .respond_with(good().set_delay(Duration::from_millis(1_500)))
        .mount(&cloud)
        .await;
    let connection = t.connect("mocked", "main", &cloud.uri()).await;
    let (mut first, second) = (serve(&t, &own).await, serve(&t, &own).await);
    // It takes nothing yet.
    signal(&second, "-STOP").await;
    t.add_devices("mocked", connection, 10, "1h").await;
    let asked = async |count: usize| {
        let mut tick = interval(Duration::from_millis(20));
        while cloud.received_requests().await.unwrap_or_default().len() < count {
            tick.tick().await;
        }
    };
    timeout(Duration::from_secs(10), asked(10)).await.expect("a call for each device");
    first.kill().await.unwrap();
    signal(&second, "-CONT").await;
    let killed = Instant::now();
    timeout(Duration::from_secs(20), asked(20)).await.expect("the calls are made again");
    let took = killed.elapsed();
    println!("made again after {took:?}; leases last {LEASE:?}");
    assert!(took <= LEASE + Duration::from_secs(1), "{took:?}");
}

async fn signal(process: &Child, signal: &str) {
    let pid = process.id().expect("it runs").to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
}
