//! Why the private servers could not be started or stopped, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong with the private servers.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A server program is not installed, or too old.
    #[error(
        "{missing}\n\
         Install what is missing:\n\
         \x20 Debian, Ubuntu:  apt-get install postgresql redis-server\n\
         \x20 Fedora:          dnf install postgresql-server valkey\n\
         \x20 macOS:           brew install postgresql@17 redis\n\
         or use servers you already have: set PACELINE__DATABASE__URL and PACELINE__REDIS__URL."
    )]
    Missing {
        /// One sentence per program that was not found.
        missing: String,
    },
    /// The data on disk cannot be used by the programs found, or in the way asked for.
    #[error("cannot use the data in {}: {why}", dir.display())]
    Unusable {
        /// Where the data is.
        dir: PathBuf,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// A server, or a tool that comes with it, ended when it should have worked.
    #[error("{program} failed ({status}). The end of its log, {}:\n{tail}", log.display())]
    Failed {
        /// The program's name.
        program: &'static str,
        /// Its exit status.
        status: String,
        /// The whole log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A server runs, but did not start or stop in time.
    #[error("{program} did not {what} within {seconds} s. The end of its log, {}:\n{tail}", log.display())]
    Slow {
        /// The program's name.
        program: &'static str,
        /// What it should have done.
        what: &'static str,
        /// How long it was given.
        seconds: u64,
        /// The whole log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// Another process holds one of the locks for too long.
    #[error(
        "another process has been starting or stopping the local servers for {seconds} s: it holds {}; \
         end it, or use another directory", path.display()
    )]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long this process waited.
        seconds: u64,
    },
    /// PostgreSQL runs, but refused a statement.
    #[error("the local PostgreSQL refused to {doing}")]
    Postgres {
        /// What was asked of it.
        doing: &'static str,
        /// Its answer.
        #[source]
        source: sqlx::Error,
    },
    /// A file or directory could not be used.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl LocalError {
    /// For `map_err`: adds the operation and the file, which an [`io::Error`] does not name.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}
