//! A private Postgres that a test may demote, copy and kill.

use crate::private_redis::free_port;
use crate::support::server;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{interval, timeout};

pub struct PrivatePostgres {
    pub url: String,
    port: u16,
    process: Child,
    /// Deleted after the server's end.
    _dir: TempDir,
    programs: Programs,
}

/// Where they are, and who runs them: Postgres refuses to run as root.
#[derive(Clone)]
struct Programs {
    bin: PathBuf,
    owner: (u32, u32),
}

impl Programs {
    /// Those of the test server.
    async fn find() -> Self {
        let mut connection = PgConnection::connect(&server("PACELINE_TEST_DATABASE_URL")).await.unwrap();
        let (bin, data): (String, String) = sqlx::query_as(
            "SELECT setting, current_setting('data_directory') FROM pg_config WHERE name = 'BINDIR'",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let data = fs::metadata(data).unwrap();
        Self { bin: bin.into(), owner: (data.uid(), data.gid()) }
    }

    /// A directory of theirs.
    fn dir(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        chown(dir.path(), Some(self.owner.0), Some(self.owner.1)).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        dir
    }

    fn command(&self, name: &str, dir: &Path) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir(dir).env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::null());
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            command.uid(self.owner.0).gid(self.owner.1);
        }
        command.kill_on_drop(true);
        command
    }

    async fn run(&self, name: &str, dir: &Path, args: &[&str]) {
        let output = self.command(name, dir).args(args).output().await.unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl PrivatePostgres {
    /// A primary with an empty database `paceline`.
    pub async fn start() -> Self {
        let programs = Programs::find().await;
        let dir = programs.dir();
        programs
            .run("initdb", dir.path(), &["--username=paceline", "--auth=trust", "--no-sync", "--pgdata=data"])
            .await;
        let primary = Self::launch(programs, dir).await;
        primary.say("CREATE DATABASE paceline").await;
        primary
    }

    /// A standby with all that its primary has. From now on a commit there waits until the standby has it.
    pub async fn standby(&self) -> Self {
        let dir = self.programs.dir();
        let port = self.port.to_string();
        let args = ["-h", "127.0.0.1", "-p", &port, "-U", "paceline", "-D", "data", "-R", "-c", "fast"];
        self.programs.run("pg_basebackup", dir.path(), &args).await;
        let standby = Self::launch(self.programs.clone(), dir).await;
        self.say("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        self.say("SELECT pg_reload_conf()").await;
        let synchronous = async {
            let mut tick = interval(Duration::from_millis(20));
            let mut connection = self.connection().await;
            let state = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            while sqlx::query_scalar::<_, i64>(state).fetch_one(&mut connection).await.unwrap() == 0 {
                tick.tick().await;
            }
        };
        timeout(Duration::from_secs(20), synchronous).await.expect("a synchronous standby");
        standby
    }

    async fn launch(programs: Programs, dir: TempDir) -> Self {
        let port = free_port();
        let mut postgres = programs.command("postgres", dir.path());
        postgres.args(["-D", "data", "-p", &port.to_string()]).stderr(Stdio::null());
        for setting in
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=100"]
        {
            postgres.args(["-c", setting]);
        }
        let url = format!("postgres://paceline@127.0.0.1:{port}/paceline");
        let process = postgres.spawn().unwrap();
        let server = Self { url, port, process, _dir: dir, programs };
        let ready = async {
            let mut tick = interval(Duration::from_millis(20));
            while PgConnection::connect(&server.admin()).await.is_err() {
                tick.tick().await;
            }
        };
        timeout(Duration::from_secs(30), ready).await.expect("a server that answers");
        server
    }

    fn admin(&self) -> String {
        format!("postgres://paceline@127.0.0.1:{}/postgres", self.port)
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.admin()).await.expect("a server that answers")
    }

    /// Executes one statement.
    pub async fn say(&self, sql: &str) {
        let done = self.connection().await.execute(AssertSqlSafe(sql.to_owned())).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Takes no more writes. Connections stay open.
    pub async fn demote(&self) {
        self.say("ALTER SYSTEM SET default_transaction_read_only = on").await;
        self.say("SELECT pg_reload_conf()").await;
    }

    /// Kills it (-9) for good.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("a running server");
    }
}
