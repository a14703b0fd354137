//! The user that the servers run as: PostgreSQL refuses to run as root.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::process::Command;

use super::LocalError;

/// Users that a machine may have for this, in order of preference.
const SERVANTS: &[&str] = &["postgres", "nobody"];

#[derive(Clone, Copy)]
pub(super) struct Account {
    pub uid: u32,
    pub gid: u32,
}

pub(super) async fn we_are_root() -> bool {
    id(&["-u"]).await == Some(0)
}

/// The data's owner, so that root can use the directory of an ordinary user; without data, one of [`SERVANTS`].
pub(super) async fn servant(data: &Path) -> Result<Account, LocalError> {
    if let Ok(data) = fs::metadata(data)
        && data.uid() != 0
    {
        return Ok(Account { uid: data.uid(), gid: data.gid() });
    }
    for name in SERVANTS {
        if let (Some(uid), Some(gid)) = (id(&["-u", name]).await, id(&["-g", name]).await) {
            return Ok(Account { uid, gid });
        }
    }
    Err(LocalError::Unusable {
        dir: data.to_owned(),
        why: "PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody; \
              start paceline as an ordinary user"
            .into(),
    })
}

/// Asks `id`, which works on every system, whatever its user database.
async fn id(args: &[&str]) -> Option<u32> {
    let answer = Command::new("id").args(args).output().await.ok()?;
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).trim().parse().ok())?
}
