//! The private Redis, or Valkey.

use std::io;
use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError, cmd};
use secrecy::{ExposeSecret, SecretString};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::LocalError;
use super::home::{self, Home};
use super::launch::Server;
use super::occupant::{self, Occupant};
use super::state::{Durability, Endpoint, State, write_private};

const NAME: &str = "redis";
const PID_FILE: &str = "redis.pid";
const SIGNAL: &str = "TERM";
const STOP_WAIT: Duration = Duration::from_secs(30);
const STOP_POLL: Duration = Duration::from_millis(20);
const PROBE_WAIT: Duration = Duration::from_secs(2);

pub(super) fn url(endpoint: &Endpoint) -> SecretString {
    let Endpoint { port, password } = endpoint;
    format!("redis://:{password}@127.0.0.1:{port}/").into()
}

/// Reuses the running server, or launches one.
pub(super) async fn ensure(home: &Home, program: &Path, state: &mut State) -> Result<(), LocalError> {
    let own = home.own(home::REDIS)?;
    if state.redis.port != 0 && connect(&state.redis).await.is_ok() {
        tracing::debug!(port = state.redis.port, "reusing the running Redis");
        return Ok(());
    }
    end_occupant(&own).await;

    let server = Server { name: NAME, program, signal: SIGNAL, workdir: &own };
    let password = state.redis.password.clone();
    let conf = own.join("redis.conf");
    let prepare = |port: u16| {
        // Stored before the launch, so that after a crash of this process the next one finds the server.
        state.redis.port = port;
        state.save(&home.state_file())?;
        // In a file, not on the command line: the password would show in `ps`.
        write_private(&conf, settings(state).as_bytes())?;
        home.give(&conf)?;
        Ok(vec![conf.clone().into()])
    };
    let ready = async |port| connect(&Endpoint { port, password: password.clone() }).await.is_ok();
    server.launch(home, prepare, ready).await
}

/// Stops the server if there is one, and waits until it no longer answers.
pub(super) async fn stop(home: &Home, state: &State) -> Result<(), LocalError> {
    let own = home.root().join(home::REDIS);
    if let Ok(mut connection) = connect(&state.redis).await {
        // FORCE: an append-only file that cannot be written must not keep the server alive. Success is a closed
        // connection, which reads as an error.
        let _: Result<(), RedisError> = cmd("SHUTDOWN").arg("FORCE").query_async(&mut connection).await;
    }
    let gone = timeout(STOP_WAIT, async {
        while connect(&state.redis).await.is_ok()
            || matches!(occupant::of(&own, PID_FILE), Occupant::Alive(_))
        {
            sleep(STOP_POLL).await;
        }
    });
    let server = Server { name: NAME, program: Path::new("redis-server"), signal: SIGNAL, workdir: &own };
    gone.await.map_err(|_| server.slow(home, "stop", STOP_WAIT))
}

/// The working directory is the server's own, so that no path here needs quoting.
fn settings(state: &State) -> String {
    let Endpoint { port, password } = &state.redis;
    let appendonly = match state.durability {
        Durability::Durable => "yes",
        Durability::Scratch => "no",
    };
    format!(
        "bind 127.0.0.1\n\
         port {port}\n\
         protected-mode yes\n\
         requirepass {password}\n\
         dir .\n\
         pidfile {PID_FILE}\n\
         daemonize no\n\
         appendonly {appendonly}\n\
         appendfsync everysec\n\
         save \"\"\n\
         maxmemory-policy noeviction\n"
    )
}

/// Only we know the password: a server that answers PING with it is ours.
async fn connect(endpoint: &Endpoint) -> Result<MultiplexedConnection, RedisError> {
    let client = Client::open(url(endpoint).expose_secret())?;
    let attempt = timeout(PROBE_WAIT, async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        cmd("PING").query_async::<()>(&mut connection).await?;
        Ok(connection)
    });
    attempt.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// Two servers would corrupt one append-only file, and unlike PostgreSQL Redis does not check.
async fn end_occupant(own: &Path) {
    let Occupant::Alive(pid) = occupant::of(own, PID_FILE) else { return };
    tracing::warn!(pid, "a Redis in our directory does not answer; ending it");
    let kill =
        "for i in 1 2 3 4 5 6 7 8 9 10; do kill -s TERM $0 || exit 0; sleep 0.5; done; kill -s KILL $0";
    // If it failed, the launch fails and reports it.
    let _ = Command::new("/bin/sh").args(["-c", kill, &pid.to_string()]).output().await;
}
