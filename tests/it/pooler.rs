//! PgBouncer between Paceline and Postgres.

use crate::support::server;
use paceline::postgres::{self, PostgresError, Unsuitable};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

struct Pooler {
    url: String,
    _process: Child,
    _dir: TempDir,
}

impl Pooler {
    /// Starts one in front of the test Postgres. `ignored`: startup parameters that it drops.
    async fn start(ignored: &str) -> Self {
        let url = server("PACELINE_TEST_DATABASE_URL");
        let (rest, database) = url.rsplit_once('/').expect("a database");
        let (user, address) = rest.trim_start_matches("postgres://").rsplit_once('@').expect("a user");
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let (host, port) = address.rsplit_once(':').expect("a port");
        let own = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let settings = format!(
            "[databases]\n* = host={host} port={port} user={user} password={password}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {own}\nauth_type = any\npool_mode = transaction\n\
             unix_socket_dir =\nignore_startup_parameters = {ignored}\n"
        );
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("a file");
        let mut command = program(&file);
        let process = command.kill_on_drop(true).spawn().expect("PgBouncer");
        let listens = async {
            let mut tick = interval(Duration::from_millis(20));
            while TcpStream::connect(("127.0.0.1", own)).await.is_err() {
                tick.tick().await;
            }
        };
        timeout(Duration::from_secs(10), listens).await.expect("it listens");
        Self { url: format!("postgres://{user}@127.0.0.1:{own}/{database}"), _process: process, _dir: dir }
    }
}

/// It does not run as root.
fn program(settings: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/opt/homebrew/bin";
    let mut command = Command::new("pgbouncer");
    command.env("PATH", path).arg("-q");
    let dir = settings.parent().expect("a directory");
    if dir.metadata().expect("a directory").uid() == 0 {
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).expect("permissions");
        command.args(["-u", "nobody"]);
    }
    command.arg(settings);
    command
}

#[tokio::test]
async fn pooler_that_gives_each_transaction_another_session_is_refused() {
    for ignored in ["", "extra_float_digits, options"] {
        let pooler = Pooler::start(ignored).await;
        let error = postgres::connect(&pooler.url.clone().into(), 1).await.unwrap_err();
        assert!(matches!(error, PostgresError::Unsuitable { why: Unsuitable::Pooled, .. }), "{error}");
    }
}
