//! Where the servers keep their files.
//!
//! Started by root, they run as another user, who must be able to reach the directory. Under `/root` no other user can:
//! then the files are under `/var/lib/paceline`, and a symbolic link in the directory points there.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use tokio::process::Command;

use super::LocalError;
use super::account::{self, Account};

/// The directory of each server within the home.
pub(super) const POSTGRES: &str = "postgres";
pub(super) const REDIS: &str = "redis";

/// The name of the link in a directory whose files are elsewhere.
const LINK: &str = "elsewhere";
const ELSEWHERE: &str = "/var/lib/paceline";

/// One pair of servers' files.
pub(super) struct Home {
    dir: PathBuf,
    root: PathBuf,
    /// `None`: the servers run as the same user as this process.
    account: Option<Account>,
}

/// Creates the directory itself, private to its owner.
pub(super) fn create(dir: &Path) -> Result<(), LocalError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(LocalError::io("create", dir))
}

impl Home {
    /// Call it under the start lock: the first call decides where the files are.
    pub(super) async fn open(dir: &Path) -> Result<Self, LocalError> {
        // Without links: the path is compared with the working directory that the kernel shows.
        let dir = fs::canonicalize(dir).map_err(LocalError::io("find", dir))?;
        if !account::we_are_root().await {
            return Ok(Self { root: dir.clone(), dir, account: None });
        }
        let root = match fs::canonicalize(dir.join(LINK)) {
            Ok(root) => root,
            Err(_) => dir.clone(),
        };
        let account = account::servant(&root.join(POSTGRES)).await?;
        let mut home = Self { dir, root, account: Some(account) };
        home.let_through()?;
        if !home.reachable().await {
            home.move_elsewhere()?;
        }
        Ok(home)
    }

    /// The directory the caller named.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory that holds the files.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn state_file(&self) -> PathBuf {
        self.root.join("state.json")
    }

    pub(super) fn users_lock(&self) -> PathBuf {
        self.root.join("users.lock")
    }

    /// A directory of its own for one server, which that server's user owns.
    pub(super) fn own(&self, name: &str) -> Result<PathBuf, LocalError> {
        let path = self.root.join(name);
        create(&path)?;
        self.give(&path)?;
        Ok(path)
    }

    /// Makes a file or directory the property of the user the servers run as.
    pub(super) fn give(&self, path: &Path) -> Result<(), LocalError> {
        let Some(Account { uid, gid }) = self.account else { return Ok(()) };
        // Not chown: in a directory of theirs the servers could have put a link to somebody else's file.
        lchown(path, Some(uid), Some(gid)).map_err(LocalError::io("change the owner of", path))
    }

    /// A command that runs as the servers do, in a directory they can reach, and speaks English in its logs.
    pub(super) fn command(&self, program: impl AsRef<OsStr>, workdir: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(workdir).env("LC_ALL", "C").stdin(Stdio::null());
        if let Some(Account { uid, gid }) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Deletes what the servers stored.
    pub(super) fn empty(&self) -> Result<(), LocalError> {
        for name in [POSTGRES, REDIS] {
            remove(&self.root.join(name))?;
        }
        if self.root != self.dir {
            remove(&self.root)?;
            let link = self.dir.join(LINK);
            fs::remove_file(&link).map_err(LocalError::io("delete", &link))?;
        }
        Ok(())
    }

    /// Other users may reach their files below it, but not list it.
    fn let_through(&self) -> Result<(), LocalError> {
        fs::set_permissions(&self.root, Permissions::from_mode(0o711))
            .map_err(LocalError::io("open the way into", &self.root))
    }

    /// Tries it instead of reading modes: access lists or the file system may decide otherwise.
    async fn reachable(&self) -> bool {
        let mut cd = self.command("/bin/sh", Path::new("/"));
        cd.args(["-c", "cd \"$0\""]).arg(&self.root).stderr(Stdio::null());
        cd.status().await.is_ok_and(|status| status.success())
    }

    fn move_elsewhere(&mut self) -> Result<(), LocalError> {
        let mut tag = [0; 9];
        SysRng.try_fill_bytes(&mut tag).map_err(|error| {
            LocalError::io("draw a name below", Path::new(ELSEWHERE))(io::Error::other(error))
        })?;
        self.root = Path::new(ELSEWHERE).join(format!("local-{}", URL_SAFE_NO_PAD.encode(tag)));
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o711)
            .create(&self.root)
            .map_err(LocalError::io("create", &self.root))?;
        let link = self.dir.join(LINK);
        // A link may be left whose target somebody deleted.
        let _ = fs::remove_file(&link);
        symlink(&self.root, &link).map_err(LocalError::io("write the link", &link))?;
        tracing::info!(
            dir = %self.dir.display(), files = %self.root.display(),
            "PostgreSQL does not run as root, and no other user can reach the directory: its files go elsewhere"
        );
        Ok(())
    }
}

fn remove(dir: &Path) -> Result<(), LocalError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(LocalError::io("delete", dir)(error)),
        _ => Ok(()),
    }
}
