//! Two file locks: the start lock, which a process holds while it starts or stops the servers, and the users' lock,
//! which every process shares as long as it uses them. The kernel releases both when the process ends.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

// Called by path (`FileExt::try_lock(&file)`), since `File` has methods of the same names.
use fs4::{FileExt, TryLockError};
use tokio::time::{sleep, timeout};

use super::LocalError;

/// Longer than a start that has to make a database cluster on a slow disk.
const TIMEOUT: Duration = Duration::from_secs(120);
const RETRY: Duration = Duration::from_millis(20);

/// An open file whose lock ends when it is dropped.
pub(super) struct Held(#[expect(dead_code, reason = "held, never read")] File);

/// Waits for the start lock of `dir`.
pub(super) async fn start_lock(dir: &Path) -> Result<Held, LocalError> {
    let path = dir.join("start.lock");
    let file = open(&path)?;
    wait(&path, || FileExt::try_lock(&file)).await?;
    Ok(Held(file))
}

/// A process's share of the users' lock.
pub(super) struct UserLock {
    file: File,
    path: PathBuf,
}

/// Whether a process that releases its lock was the last user.
pub(super) enum Released {
    /// It was. Its exclusive lock keeps `run_server.sh` from stopping the servers meanwhile.
    Last(Held),
    /// Others still use the servers.
    Others,
}

impl UserLock {
    /// Waits while `run_server.sh`, after the last user ended, stops its server under the exclusive lock.
    pub(super) async fn acquire(path: &Path) -> Result<Self, LocalError> {
        let file = open(path)?;
        wait(path, || FileExt::try_lock_shared(&file)).await?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Call it under the start lock: two users that release at once would each see the other.
    pub(super) async fn release(self) -> Result<Released, LocalError> {
        let Self { file, path } = self;
        loop {
            if attempt(FileExt::try_lock(&file), &path)? {
                return Ok(Released::Last(Held(file)));
            }
            // Upgrading a shared lock releases it first, and run_server.sh may take the exclusive one in between. Only
            // if a shared lock can still be had are there other users.
            if attempt(FileExt::try_lock_shared(&file), &path)? {
                return Ok(Released::Others);
            }
            sleep(RETRY).await;
        }
    }
}

/// Creates the file with the usual mode: `run_server.sh`, which may run as another user, opens it for reading.
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
    let got = timeout(TIMEOUT, async {
        while !attempt(lock(), path)? {
            sleep(RETRY).await;
        }
        Ok(())
    });
    let busy = |_| Err(LocalError::Busy { path: path.to_owned(), seconds: TIMEOUT.as_secs() });
    got.await.unwrap_or_else(busy)
}

fn attempt(outcome: Result<(), TryLockError>, path: &Path) -> Result<bool, LocalError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(LocalError::io("lock", path)(source)),
    }
}
