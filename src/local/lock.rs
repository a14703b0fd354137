//! Two file locks: the gate, which one process at a time passes to start or stop the servers, and the seats, a
//! shared lock that every user holds as long as it uses them. The kernel drops both with the process.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

// Called by path (`FileExt::try_lock(&file)`), since `File` has methods of the same names.
use fs4::{FileExt, TryLockError};
use tokio::time::{sleep, timeout};

use super::LocalError;

/// Longer than a start that has to make a database cluster on a slow disk.
const PATIENCE: Duration = Duration::from_secs(120);
const RETRY: Duration = Duration::from_millis(20);

/// An open file whose lock ends when it is dropped.
pub(super) struct Held(#[expect(dead_code, reason = "held, never read")] File);

/// Waits for the gate of `dir`.
pub(super) async fn gate(dir: &Path) -> Result<Held, LocalError> {
    let path = dir.join("gate.lock");
    let file = open(&path)?;
    wait(&path, || FileExt::try_lock(&file)).await?;
    Ok(Held(file))
}

/// One user's shared lock.
pub(super) struct Seat {
    file: File,
    path: PathBuf,
}

/// What giving up a seat showed.
pub(super) enum Leaving {
    /// Nobody else uses the servers. The lock keeps their keepers away while we stop them.
    Last(Held),
    /// Others still use them.
    Others,
}

impl Seat {
    /// Waits while a keeper, having seen the last user go, stops its server behind the exclusive lock.
    pub(super) async fn take(path: &Path) -> Result<Self, LocalError> {
        let file = open(path)?;
        wait(path, || FileExt::try_lock_shared(&file)).await?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Only behind the gate: two users asking at once would each see the other.
    pub(super) async fn leave(self) -> Result<Leaving, LocalError> {
        let Self { file, path } = self;
        loop {
            if attempt(FileExt::try_lock(&file), &path)? {
                return Ok(Leaving::Last(Held(file)));
            }
            // Turning a shared lock into an exclusive one lets go of it first, and a keeper may slip in. Only
            // if a shared lock is still to be had are there other users.
            if attempt(FileExt::try_lock_shared(&file), &path)? {
                return Ok(Leaving::Others);
            }
            sleep(RETRY).await;
        }
    }
}

/// Creates the file with the usual mode: the keepers, which may run as another user, open it for reading.
fn open(path: &Path) -> Result<File, LocalError> {
    let doing = "open the lock file";
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(LocalError::io(doing, path))
}

async fn wait(path: &Path, lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), LocalError> {
    let got = timeout(PATIENCE, async {
        while !attempt(lock(), path)? {
            sleep(RETRY).await;
        }
        Ok(())
    });
    let busy = |_| Err(LocalError::Busy { path: path.to_owned(), seconds: PATIENCE.as_secs() });
    got.await.unwrap_or_else(busy)
}

fn attempt(outcome: Result<(), TryLockError>, path: &Path) -> Result<bool, LocalError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(LocalError::io("lock", path)(source)),
    }
}
