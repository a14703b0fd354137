//! The private PostgreSQL.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::LocalError;
use super::find::{Installed, Postgres};
use super::home::{self, Home};
use super::launch::{self, Server};
use super::occupant::{self, Occupant};
use super::state::{Durability, Endpoint, State, write_private};

const NAME: &str = "postgres";
const PID_FILE: &str = "postmaster.pid";
const DATABASE: &str = "paceline";

/// Fast shutdown: does not wait until the clients go.
const SIGNAL: &str = "INT";
const STOP_WAIT: Duration = Duration::from_secs(30);
const PROBE_WAIT: Duration = Duration::from_secs(2);

/// Small, since it shares the machine. Loopback and passwords keep others out.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    // No socket files: their path may not pass 107 bytes, and a deep directory does.
    "unix_socket_directories=",
    "max_connections=200",
    "shared_buffers=64MB",
    "jit=off",
    "timezone=UTC",
    "log_timezone=UTC",
];

const SCRATCH_SETTINGS: &[&str] = &[
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
];

pub(super) fn url(endpoint: &Endpoint, database: &str) -> SecretString {
    let Endpoint { port, password } = endpoint;
    format!("postgres://paceline:{password}@127.0.0.1:{port}/{database}?sslmode=disable").into()
}

/// Reuses the running server, or launches one; the database exists afterwards.
pub(super) async fn ensure(home: &Home, programs: &Postgres, state: &mut State) -> Result<(), LocalError> {
    let own = home.own(home::POSTGRES)?;
    let data = own.join("data");
    let installed = fitting(programs, &data)?;

    if state.postgres.port != 0 && answers(&state.postgres).await {
        tracing::debug!(port = state.postgres.port, "adopted the running PostgreSQL");
    } else {
        evict(home, installed, &data).await?;
        if !data.exists() {
            init(home, installed, &own, &data, state).await?;
        }
        launch(home, installed, &own, state).await?;
    }
    create_database(&state.postgres).await
}

/// Stops the server if there is one.
pub(super) async fn stop(home: &Home, programs: &Postgres) -> Result<(), LocalError> {
    let data = home.root().join(home::POSTGRES).join("data");
    if data.exists() { evict(home, fitting(programs, &data)?, &data).await } else { Ok(()) }
}

/// Data can be used only by the major version that made it.
fn fitting<'a>(programs: &'a Postgres, data: &Path) -> Result<&'a Installed, LocalError> {
    let Ok(text) = fs::read_to_string(data.join("PG_VERSION")) else { return Ok(programs.preferred()) };
    let fit = text.trim().parse().ok().and_then(|major| programs.of_major(major));
    fit.ok_or_else(|| LocalError::Unusable {
        dir: data.to_owned(),
        why: format!(
            "it was made by PostgreSQL {}, which is not installed; install it, or delete the data",
            text.trim()
        ),
    })
}

/// Creates an empty cluster, and renames it into place when it is complete: a killed initdb leaves half of one.
async fn init(
    home: &Home,
    installed: &Installed,
    own: &Path,
    data: &Path,
    state: &State,
) -> Result<(), LocalError> {
    let draft = own.join("data.new");
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(LocalError::io("delete the unfinished", &draft))?;
    }
    let password = own.join("password");
    write_private(&password, state.postgres.password.as_bytes())?;
    home.give(&password)?;
    let log_path = home.root().join("initdb.log");
    let log = launch::log_file(&log_path)?;
    let copy = log.try_clone().map_err(LocalError::io("open", &log_path))?;

    tracing::info!(dir = %data.display(), version = installed.major, "making a PostgreSQL cluster");
    let mut initdb = home.command(installed.bin.join("initdb"), own);
    initdb.args(["--username=paceline", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
    initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(&draft);
    if state.durability == Durability::Scratch {
        initdb.arg("--no-sync");
    }
    let status = initdb.stdout(log).stderr(copy).status().await;
    let status = status.map_err(LocalError::io("run", &installed.bin.join("initdb")))?;
    fs::remove_file(&password).map_err(LocalError::io("delete", &password))?;
    if !status.success() {
        let tail = launch::tail(&log_path);
        return Err(LocalError::Failed {
            program: "initdb",
            status: status.to_string(),
            log: log_path,
            tail,
        });
    }
    fs::rename(&draft, data).map_err(LocalError::io("name", data))
}

async fn launch(home: &Home, installed: &Installed, own: &Path, state: &mut State) -> Result<(), LocalError> {
    let data = own.join("data");
    let program = installed.bin.join("postgres");
    let server = Server { name: NAME, program: &program, signal: SIGNAL, workdir: own };
    let scratch = if state.durability == Durability::Scratch { SCRATCH_SETTINGS } else { &[] };
    let password = state.postgres.password.clone();
    let prepare = |port: u16| {
        // Stored before the launch, so that after a crash of this process the next one finds the server.
        state.postgres.port = port;
        state.save(&home.state_file())?;
        let mut args = vec![OsString::from("-D"), data.clone().into(), "-p".into(), port.to_string().into()];
        args.extend(SETTINGS.iter().chain(scratch).flat_map(|setting| ["-c".into(), setting.into()]));
        Ok(args)
    };
    let ready = async |port| answers(&Endpoint { port, password: password.clone() }).await;
    server.launch(home, prepare, ready).await
}

/// Only we know the password: a server that accepts it is ours.
async fn answers(endpoint: &Endpoint) -> bool {
    timeout(PROBE_WAIT, connect(endpoint)).await.is_ok_and(|connected| connected.is_ok())
}

async fn connect(endpoint: &Endpoint) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect(url(endpoint, "postgres").expose_secret()).await?;
    connection.ping().await?;
    Ok(connection)
}

async fn create_database(endpoint: &Endpoint) -> Result<(), LocalError> {
    let refused = |doing| move |source| LocalError::Postgres { doing, source };
    let mut connection = connect(endpoint).await.map_err(refused("let us in"))?;
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut connection)
        .await
        .map_err(refused("list its databases"))?;
    if !there {
        let create = sqlx::query("CREATE DATABASE paceline").execute(&mut connection).await;
        create.map_err(refused("create the database paceline"))?;
    }
    // Not needed, but without it the server logs an error.
    let _ = connection.close().await;
    Ok(())
}

/// Ends a server that still runs in the directory, and removes a pid file that would keep the next one from starting.
async fn evict(home: &Home, installed: &Installed, data: &Path) -> Result<(), LocalError> {
    match occupant::of(data, PID_FILE) {
        Occupant::Nobody => return Ok(()),
        // PostgreSQL itself asks only whether the number is in use, and would refuse to start.
        Occupant::Stale => {
            let pid_file = data.join(PID_FILE);
            return fs::remove_file(&pid_file).map_err(LocalError::io("delete the stale", &pid_file));
        }
        Occupant::Alive(_) | Occupant::Unknown => {}
    }
    let pg_ctl = installed.bin.join("pg_ctl");
    for mode in ["fast", "immediate"] {
        let mut stop = home.command(&pg_ctl, data);
        stop.args(["stop", "--wait", "--silent", "--mode", mode, "--timeout"]);
        stop.arg(STOP_WAIT.as_secs().to_string()).arg("--pgdata").arg(data);
        let answer = stop.output().await.map_err(LocalError::io("run", &pg_ctl))?;
        if answer.status.success() || !matches!(occupant::of(data, PID_FILE), Occupant::Alive(_)) {
            return Ok(());
        }
    }
    let server = Server { name: NAME, program: &pg_ctl, signal: SIGNAL, workdir: data };
    Err(server.slow(home, "stop", STOP_WAIT))
}
