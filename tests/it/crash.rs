//! `paceline serve`, killed in the middle of its work.

use crate::support::{self, TestApp};
use paceline::cloud::{self, CloudSettings, Limit};
use paceline::keep;
use paceline::preference::connections::{self, NewConnection};
use paceline::preference::devices::{self, NewDevice, TenantConnection};
use paceline::words::Priority;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::{interval, timeout};

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
    let provider: paceline::words::ProviderName = "meadow".parse().unwrap();
    let new = NewConnection {
        tenant: t.tenant,
        provider: provider.clone(),
        label: "home".into(),
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
    devices::add(&t.app.pool, &TenantConnection { tenant: t.tenant, connection, provider }, &all)
        .await
        .unwrap();

    let mut first = serve(&t, &[]).await;
    readings_since(&t, chrono::DateTime::UNIX_EPOCH, i64::from(DEVICES) / 2).await;
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
