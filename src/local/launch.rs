//! Launches a server under `run_server.sh` and waits until it answers.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::LocalError;
use super::home::Home;
use super::state::write_private;

const RUN_SERVER: &str = include_str!("run_server.sh");

/// After a crash PostgreSQL replays its log before it answers.
const READY_WAIT: Duration = Duration::from_secs(120);
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// Log texts of failures that pass: the port was taken between our check and the server's, or the previous server is
/// still exiting.
const TRANSIENT: &[&str] = &["Address already in use", "already exists", "still in use"];
const LAUNCHES: u32 = 10;
const RELAUNCH_AFTER: Duration = Duration::from_millis(500);

/// How much of a log an error shows.
const TAIL_LINES: usize = 12;

/// What differs from server to server.
pub(super) struct Server<'a> {
    pub name: &'static str,
    pub program: &'a Path,
    /// The signal that stops it without waiting for its clients.
    pub signal: &'static str,
    pub workdir: &'a Path,
}

impl Server<'_> {
    /// Launches, on a new port each time, until the server answers `ready` or fails for a reason that does not pass.
    pub(super) async fn launch(
        &self,
        home: &Home,
        mut prepare: impl FnMut(u16) -> Result<Vec<OsString>, LocalError>,
        ready: impl AsyncFn(u16) -> bool,
    ) -> Result<(), LocalError> {
        let mut launch = 1;
        loop {
            let port = free_port().map_err(LocalError::io("find a free port for", self.program))?;
            let args = prepare(port)?;
            let mut child = self.spawn(home, &args)?;
            match timeout(READY_WAIT, until_ready(&mut child, port, &ready)).await {
                Ok(None) => {
                    tracing::info!(server = self.name, port, log = %self.log(home).display(), "local server started");
                    return Ok(());
                }
                Ok(Some(status)) => {
                    let tail = tail(&self.log(home));
                    if launch < LAUNCHES && TRANSIENT.iter().any(|reason| tail.contains(reason)) {
                        tracing::debug!(server = self.name, launch, "not yet: {tail}");
                        launch += 1;
                        sleep(RELAUNCH_AFTER).await;
                        continue;
                    }
                    return Err(LocalError::Failed { program: self.name, status, log: self.log(home), tail });
                }
                Err(_) => return Err(self.slow(home, "answer", READY_WAIT)),
            }
        }
    }

    pub(super) fn slow(&self, home: &Home, what: &'static str, waited: Duration) -> LocalError {
        let log = self.log(home);
        LocalError::Slow { program: self.name, what, seconds: waited.as_secs(), tail: tail(&log), log }
    }

    fn log(&self, home: &Home) -> PathBuf {
        home.root().join(format!("{}.log", self.name))
    }

    fn spawn(&self, home: &Home, args: &[OsString]) -> Result<Child, LocalError> {
        let log = log_file(&self.log(home))?;
        let copy = log.try_clone().map_err(LocalError::io("open", &self.log(home)))?;
        // A file, so that `ps` shows its name instead of its text.
        let script = self.workdir.join("run_server.sh");
        write_private(&script, RUN_SERVER.as_bytes())?;
        home.give(&script)?;
        home.command("/bin/sh", self.workdir)
            .arg(script)
            .arg(home.users_lock())
            .arg(self.signal)
            .arg(self.program)
            .args(args)
            .stdout(log)
            .stderr(copy)
            // Ctrl-C in the terminal must not reach the server: we need it until we have stopped.
            .process_group(0)
            .spawn()
            .map_err(LocalError::io("run", self.program))
    }
}

/// `None` when the server answers, otherwise its exit status.
async fn until_ready(child: &mut Child, port: u16, ready: &impl AsyncFn(u16) -> bool) -> Option<String> {
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Some(status.to_string()),
            Err(error) => return Some(error.to_string()),
        }
        if ready(port).await {
            return None;
        }
        sleep(PROBE_EVERY).await;
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// An empty log for this launch; the previous one is kept as `.log.old`.
pub(super) fn log_file(path: &Path) -> Result<File, LocalError> {
    // On the first launch there is none.
    let _ = fs::rename(path, path.with_extension("log.old"));
    File::options().create(true).append(true).open(path).map_err(LocalError::io("open", path))
}

/// The last lines of a log.
pub(super) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
