//! The private servers: shared, stopped by the last user, killed and reused.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use paceline::local::{self, Durability, Servers};
use redis::AsyncCommands;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The directory for a second process of this test binary, which uses the same servers.
const DIR_VAR: &str = "PACELINE_TEST_LOCAL_DIR";
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn last_user_stops_the_servers() {
    let dir = TempDir::new().unwrap();
    let first = local::start(dir.path(), Durability::Scratch).await.unwrap();
    write(&first, "kept").await;

    let second = local::start(dir.path(), Durability::Scratch).await.unwrap();
    assert_eq!(second.database_url.expose_secret(), first.database_url.expose_secret());
    assert_eq!(second.redis_url.expose_secret(), first.redis_url.expose_secret());

    first.stop().await.unwrap();
    assert_eq!(read(&second).await, ("kept".into(), "kept".into()));

    let pids = pids(dir.path());
    let (database_url, redis_url) = (second.database_url.clone(), second.redis_url.clone());
    second.stop().await.unwrap();
    gone(&pids).await;
    assert!(PgConnection::connect(database_url.expose_secret()).await.is_err());
    assert!(redis(&redis_url).await.is_err());
}

#[tokio::test]
async fn servers_survive_the_process_that_started_them() {
    let dir = TempDir::new().unwrap();
    let mut starter = other_process(dir.path()).await;
    let servers = local::start(dir.path(), Durability::Durable).await.unwrap();
    write(&servers, "adopted").await;
    let pids = pids(dir.path());

    // End of input tells the helper to stop gracefully.
    drop(starter.stdin.take());
    assert!(timeout(TIMEOUT, starter.wait()).await.unwrap().unwrap().success());

    // Nor do they stop when one user is killed while another remains.
    let mut guest = other_process(dir.path()).await;
    guest.kill().await.unwrap();
    sleep(Duration::from_millis(500)).await;

    assert_eq!(read(&servers).await, ("adopted".into(), "adopted".into()));
    servers.stop().await.unwrap();
    gone(&pids).await;
}

#[tokio::test]
async fn servers_of_a_killed_process_stop_and_keep_their_data() {
    let dir = TempDir::new().unwrap();
    let mut killed = other_process(dir.path()).await;
    let servers = local::start(dir.path(), Durability::Durable).await.unwrap();
    write(&servers, "durable").await;
    servers.stop().await.unwrap();
    let pids = pids(dir.path());
    killed.kill().await.unwrap();

    // At once, while the old servers may still be stopping.
    let servers = local::start(dir.path(), Durability::Durable).await.unwrap();
    assert_eq!(read(&servers).await, ("durable".into(), "durable".into()));

    // Read before they stop: their files go with them.
    let adopted = self::pids(dir.path());
    // Dropping without stop releases the lock, as a killed process does.
    drop(servers);
    if cfg!(target_os = "linux") {
        gone(&pids).await;
        gone(&adopted).await;
    }
    local::start(dir.path(), Durability::Durable).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn killed_servers_are_started_again() {
    let dir = TempDir::new().unwrap();
    let servers = local::start(dir.path(), Durability::Durable).await.unwrap();
    write(&servers, "crash").await;
    for pid in pids(dir.path()) {
        assert!(Command::new("kill").args(["-9", &pid]).status().await.unwrap().success());
    }
    // The pid in the file is now that of another process, as after a restart of a container.
    let again = local::start(dir.path(), Durability::Durable).await.unwrap();
    assert_eq!(read(&again).await.0, "crash");
    again.stop().await.unwrap();
    servers.stop().await.unwrap();

    fs::write(file(dir.path(), "postgres/data/postmaster.pid"), std::process::id().to_string()).unwrap();
    local::start(dir.path(), Durability::Durable).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn failed_start_shows_the_log() {
    let dir = TempDir::new().unwrap();
    local::start(dir.path(), Durability::Durable).await.unwrap().stop().await.unwrap();
    let control = file(dir.path(), "postgres/data/global/pg_control");
    fs::rename(&control, control.with_extension("away")).unwrap();

    let error =
        local::start(dir.path(), Durability::Durable).await.err().expect("no control file, no server");
    let text = error.to_string();
    assert!(text.contains("postgres.log") && text.contains("could not find the database system"), "{text}");

    fs::rename(control.with_extension("away"), &control).unwrap();
    local::start(dir.path(), Durability::Durable).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn scratch_directory_refuses_durable_data() {
    let dir = TempDir::new().unwrap();
    local::start(dir.path(), Durability::Scratch).await.unwrap().stop().await.unwrap();
    let error =
        local::start(dir.path(), Durability::Durable).await.err().expect("the directory is for scratch");
    assert!(error.to_string().contains("throw-away"), "{error}");
}

/// Not a test: the other process of the tests above, which run it with `--ignored`.
#[tokio::test]
#[ignore = "a helper of the tests in this file"]
async fn another_user() {
    let Some(dir) = env::var_os(DIR_VAR) else { return };
    let servers = local::start(Path::new(&dir), Durability::Durable).await.unwrap();
    println!("\nready");
    let mut input = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut input).await.unwrap();
    servers.stop().await.unwrap();
}

/// Starts this binary again and waits until it has its servers.
async fn other_process(dir: &Path) -> Child {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["local::another_user", "--exact", "--ignored", "--nocapture"])
        .env(DIR_VAR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = timeout(TIMEOUT, async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line == "ready" {
                // Reads on, so that the harness can still write to the pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return true;
            }
        }
        false
    });
    assert!(ready.await.unwrap(), "the other process ended before it was ready");
    child
}

async fn write(servers: &Servers, value: &str) {
    let mut postgres = PgConnection::connect(servers.database_url.expose_secret()).await.unwrap();
    sqlx::query("CREATE TABLE proof (value text)").execute(&mut postgres).await.unwrap();
    sqlx::query("INSERT INTO proof VALUES ($1)").bind(value).execute(&mut postgres).await.unwrap();
    redis(&servers.redis_url).await.unwrap().set::<_, _, ()>("proof", value).await.unwrap();
}

async fn read(servers: &Servers) -> (String, String) {
    let mut postgres = PgConnection::connect(servers.database_url.expose_secret()).await.unwrap();
    let value = sqlx::query_scalar("SELECT value FROM proof").fetch_one(&mut postgres).await.unwrap();
    (value, redis(&servers.redis_url).await.unwrap().get("proof").await.unwrap())
}

async fn redis(url: &SecretString) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    redis::Client::open(url.expose_secret())?.get_multiplexed_async_connection().await
}

/// A file of the servers, wherever they keep them.
fn file(dir: &Path, name: &str) -> PathBuf {
    let elsewhere = dir.join("elsewhere");
    if elsewhere.exists() { elsewhere.join(name) } else { dir.join(name) }
}

fn pids(dir: &Path) -> Vec<String> {
    let first_line = |name| fs::read_to_string(file(dir, name)).unwrap().lines().next().unwrap().to_owned();
    vec![first_line("postgres/data/postmaster.pid"), first_line("redis/redis.pid")]
}

async fn gone(pids: &[String]) {
    let wait = async {
        for pid in pids {
            while Path::new("/proc").join(pid).exists() {
                sleep(Duration::from_millis(20)).await;
            }
        }
    };
    timeout(TIMEOUT, wait).await.unwrap_or_else(|_| panic!("still running: {pids:?}"));
}
