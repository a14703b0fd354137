//! As whom the servers run: PostgreSQL refuses root, so that root lends it another user.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::process::Command;

use super::LocalError;

/// Users that a machine may have for such a purpose, the best first.
const SERVANTS: &[&str] = &["postgres", "nobody"];

#[derive(Clone, Copy)]
pub(super) struct Account {
    pub uid: u32,
    pub gid: u32,
}

pub(super) async fn we_are_root() -> bool {
    id(&["-u"]).await == Some(0)
}

/// Whoever owns the data already, so that root can take over the directory of an ordinary user; or a servant.
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

/// What `id` answers: it works on every system, whatever its user database.
async fn id(args: &[&str]) -> Option<u32> {
    let answer = Command::new("id").args(args).output().await.ok()?;
    answer.status.success().then(|| String::from_utf8_lossy(&answer.stdout).trim().parse().ok())?
}
