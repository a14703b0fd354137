//! Machines whose wall clock is wrong: readings, grids, holds and windows go by Redis's clock, and nothing that Redis
//! times is compared with what Postgres times.

use crate::journey::{PATIENT, Rig, good};
use crate::private_redis::PrivateRedis;
use crate::support::{self, TestApp};
use paceline::authorise;
use paceline::keep;
use paceline::preference::connections::ConnectionRef;
use paceline::words::{JobId, Secrets, UnixMs};
use secrecy::ExposeSecret;
use serde_json::json;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// Three calls a minute of the calendar.
const CALENDAR: &str = r#"
title = "Calendar"
[http]
base_url = "{{ params.base_url }}"
[[quota]]
name = "minute"
kind = "aligned"
scope = "connection"
amount = 3
burst = 3
window = "minute"
headroom = 0.0
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

/// Stands before the C library's clock. `jumping`: an hour ahead and an hour behind in turn.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  static int looks;
  const char *off = getenv("CLOCK_OFF_S");
  if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = real(id, t);
  if (id == CLOCK_REALTIME && off)
    t->tv_sec += strcmp(off, "jumping") ? atol(off) : looks++ % 2 ? 3600 : -3600;
  return failed;
}
int gettimeofday(struct timeval *t, void *zone) {
  struct timespec now;
  int failed = clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return failed;
}
"#;

/// A library to be loaded before others.
async fn shim(dir: &tempfile::TempDir) -> PathBuf {
    let (source, library) = (dir.path().join("clock.c"), dir.path().join("clock.so"));
    std::fs::write(&source, SHIM).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .await
        .expect("the compiler that Rust links by");
    assert!(built.success());
    library
}

fn serve(t: &TestApp, dir: &tempfile::TempDir, shim: &PathBuf, off: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_paceline"))
        .args(["serve", "--roles", "fetch,keep"])
        .env("PACELINE__DATABASE__URL", t.database_url.expose_secret())
        .env("PACELINE__REDIS__URL", support::server("PACELINE_TEST_REDIS_URL"))
        .env("PACELINE__REDIS__PREFIX", &t.app.settings.redis.prefix)
        .env("PACELINE__SECRET__KEY", t.sealing_key.expose_secret())
        .env("PACELINE__PROVIDERS__DIR", dir.path())
        .env("PACELINE__PROVIDERS__PRIVATE_NETWORKS", "calendar")
        .env("PACELINE__SCHEDULE__FIRST_RUN_SPREAD", "100ms")
        .env("CLOCK_OFF_S", off)
        .env("LD_PRELOAD", shim)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let waited = async {
        let mut tick = interval(Duration::from_millis(50));
        while !is_so().await {
            tick.tick().await;
        }
    };
    timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn slow_worker_with_a_wrong_clock_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("calendar.toml"), CALENDAR).unwrap();
    let shim = shim(&dir).await;
    for off in ["3600", "-3600", "jumping"] {
        let t = TestApp::with(&[("calendar", CALENDAR)]).await;
        let cloud = MockServer::start().await;
        let asked = AtomicU32::new(0);
        let answer = move |_: &Request| {
            ResponseTemplate::new(200).set_body_json(json!({"t": asked.fetch_add(1, Ordering::Relaxed)}))
        };
        Mock::given(path_regex("^/devices")).respond_with(answer).mount(&cloud).await;
        let refusal = ResponseTemplate::new(429).insert_header("retry-after", "50");
        Mock::given(path_regex("^/held")).respond_with(refusal).mount(&cloud).await;
        let main = t.connect("calendar", "main", &cloud.uri()).await;
        t.add_devices("calendar", main, 6, "1s").await;
        let held = t.connect("calendar", "held", &format!("{}/held", cloud.uri())).await;
        t.add_devices("calendar", held, 1, "1s").await;
        let began = t.app.redis.time_ms().await.unwrap();

        let mut process = serve(&t, &dir, &shim, off);
        let provider = "calendar".parse().unwrap();
        let jobs: Vec<i64> = sqlx::query_scalar("SELECT job_id FROM jobs ORDER BY job_id")
            .fetch_all(&t.app.pool)
            .await
            .unwrap();
        let jobs: Vec<_> = jobs.into_iter().map(JobId).collect();
        let places = || async { t.app.queue.locate(&provider, &jobs).await.unwrap() };
        until("the window is spent", || async {
            places().await[..6].iter().any(|p| p.blocked_by == "minute")
        })
        .await;
        until("a refusal holds", || async { places().await[6].blocked_by.starts_with("hold") }).await;
        until("three readings", || async {
            let rows: i64 =
                sqlx::query_scalar("SELECT count(*) FROM readings").fetch_one(&t.app.pool).await.unwrap();
            rows >= 3
        })
        .await;
        process.kill().await.unwrap();
        let now = t.app.redis.time_ms().await.unwrap();
        let places = places().await;

        // Windows: those of the calendar, by the true time.
        let times: Vec<chrono::DateTime<chrono::Utc>> =
            sqlx::query_scalar("SELECT fetched_at FROM readings").fetch_all(&t.app.pool).await.unwrap();
        let times: Vec<_> = times.into_iter().map(|at| UnixMs::from(at).0).collect();
        assert!(times.iter().all(|at| (began..=now).contains(at)), "{off}: {began} {times:?} {now}");
        for minute in [began / 60_000, now / 60_000] {
            assert!(times.iter().filter(|at| *at / 60_000 == minute).count() <= 3, "{off}: {times:?}");
        }
        let waits = places.iter().find(|p| p.blocked_by == "minute").map(|p| p.until_ms as i64);
        assert!(waits.is_some_and(|at| at > began && at <= now + 62_000), "{off}: {now} {waits:?}");
        // Holds: from the refusal on.
        let hold = places[6].until_ms as i64;
        assert!(hold >= began + 50_000 && hold <= now + 55_000, "{off}: {now} {hold}");
        // Grids: last run and next.
        for place in &places[..6] {
            let ran = (began..=now).contains(&place.last_ms);
            assert!(ran || place.last_ms == 0, "{off}: {began} {place:?} {now}");
            assert!((began - 2_000..=now + 2_000).contains(&place.due_ms), "{off}: {place:?} {now}");
        }
        // Lag is counted in the minute it was seen in.
        let mut link = t.app.redis.link();
        let stats = t.app.keys.stats(&provider, 0).trim_end_matches('0').replace(['{', '}'], "?") + "*";
        let keys: Vec<String> = redis::cmd("KEYS").arg(stats).query_async(&mut link).await.unwrap();
        let minutes: Vec<i64> = keys.iter().filter_map(|key| key.rsplit_once(':')?.1.parse().ok()).collect();
        assert!(!minutes.is_empty(), "{off}");
        assert!(minutes.iter().all(|m| (began / 60_000..=now / 60_000).contains(m)), "{off}: {minutes:?}");
    }
}

/// A login whose password the cloud refuses.
const LOGIN: &str = r#"
title = "Login"
[http]
base_url = "{{ params.base_url }}"
[auth]
kind = "bearer"
[auth.login]
url = "/login"
json = '{"password": {{ secrets.secret }}}'
secrets = ["secret"]
token = ".token"
interval_min = "100ms"
[resource.state]
interval_min = "1s"
interval_default = "1m"
path = "/devices/{{ device.external_id }}"
records = "{values: {t: .t}}"
"#;

async fn state(rig: &Rig) -> String {
    sqlx::query_scalar("SELECT state FROM connections").fetch_one(&rig.t.app.pool).await.unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn refusal_counts_by_secrets_version_though_clocks_differ() {
    let dir = tempfile::tempdir().unwrap();
    let shim = shim(&dir).await;
    for off_s in [600, -600] {
        let redis = PrivateRedis::with_clock_off(&shim, off_s).await;
        let rig = Rig::at(&redis.url, PATIENT, 1, "1h").await;
        let app = &rig.t.app;
        let of_postgres: chrono::DateTime<chrono::Utc> =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&app.pool).await.unwrap();
        let apart = app.redis.time_ms().await.unwrap() - UnixMs::from(of_postgres).0;
        assert!((apart / 1000 - off_s).abs() < 60, "{apart} ms, not {off_s} s");

        // Secrets that are replaced while the second refusal is on its way.
        Mock::given(method("GET")).respond_with(ResponseTemplate::new(401)).mount(&rig.cloud).await;
        rig.land(1).await;
        rig.start(&rig.journey).await.unwrap();
        rig.asked(2).await;
        let found = ConnectionRef { id: rig.connection, provider: rig.provider.to_owned() };
        authorise::renew_secrets(app, rig.t.tenant, &found, Secrets::only("better")).await.unwrap();
        keep::drain(app).await.unwrap();
        rig.journey.land().await.unwrap();
        assert_eq!(state(&rig).await, "active", "{off_s} s: the refusal was of older secrets");
        // And those that are not.
        while state(&rig).await == "active" {
            let started = rig.start(&rig.journey).await.expect("a refusal that counts");
            assert!(rig.cloud.received_requests().await.unwrap().len() < 10, "{off_s} s: no refusal counts");
            for _ in 0..started {
                rig.journey.land().await.unwrap();
            }
        }

        // What a login's refusal says counts at once.
        let rig = Rig::at(&redis.url, LOGIN, 1, "1h").await;
        Mock::given(path("/login")).respond_with(ResponseTemplate::new(401)).mount(&rig.cloud).await;
        rig.start(&rig.journey).await.unwrap();
        rig.journey.land().await.unwrap();
        assert_eq!(state(&rig).await, "needs_reauth", "{off_s} s");
        // New secrets work at once.
        let found = ConnectionRef { id: rig.connection, provider: rig.provider.to_owned() };
        authorise::renew_secrets(&rig.t.app, rig.t.tenant, &found, Secrets::only("better")).await.unwrap();
        keep::drain(&rig.t.app).await.unwrap();
        rig.cloud.reset().await;
        let token = ResponseTemplate::new(200).set_body_json(json!({"token": "t"}));
        Mock::given(path("/login")).respond_with(token).mount(&rig.cloud).await;
        Mock::given(method("GET")).respond_with(good(1.0)).mount(&rig.cloud).await;
        rig.read_all(&rig.journey).await;
    }
}
