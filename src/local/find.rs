//! Finds the server programs: first on the PATH, then where packagers put them.

use std::cmp::Reverse;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::LocalError;
use crate::redis::{REDIS_MIN, VALKEY_MIN};

const POSTGRES_MIN: u32 = 15;

/// Debian keeps the server off the PATH; so do the PostgreSQL project's Fedora packages, Homebrew and Postgres.app.
/// The `*` stands for anything within one name.
const POSTGRES_PLACES: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// An ordinary user's PATH may lack the sbin directories, a service's those of Homebrew.
const REDIS_PLACES: &[&str] =
    &["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin", "/usr/libexec"];

/// The programs to use.
pub(super) struct Programs {
    pub postgres: Postgres,
    pub redis: PathBuf,
}

/// Every PostgreSQL that is new enough, the preferred one first: data stays with the major version that made it.
pub(super) struct Postgres(Vec<Installed>);

/// A directory with `postgres`, `initdb` and `pg_ctl` of one major version.
pub(super) struct Installed {
    pub major: u32,
    pub bin: PathBuf,
}

impl Postgres {
    pub(super) fn preferred(&self) -> &Installed {
        &self.0[0]
    }

    pub(super) fn of_major(&self, major: u32) -> Option<&Installed> {
        self.0.iter().find(|installed| installed.major == major)
    }
}

/// Finds both servers; an error lists everything that is missing.
pub(super) fn programs() -> Result<Programs, LocalError> {
    match (postgres(), redis()) {
        (Ok(postgres), Ok(redis)) => Ok(Programs { postgres, redis }),
        (postgres, redis) => {
            let missing: Vec<_> = [postgres.err(), redis.err()].into_iter().flatten().collect();
            Err(LocalError::Missing { missing: missing.join("\n") })
        }
    }
}

fn postgres() -> Result<Postgres, String> {
    let mut found: Vec<_> =
        POSTGRES_PLACES.iter().flat_map(|place| expand(place)).filter_map(installed).collect();
    found.sort_by_key(|installed| Reverse(installed.major));
    // Somebody chose what is on the PATH: it comes first, whatever its version.
    found.splice(..0, path_dirs().into_iter().filter_map(installed));

    let newest = found.iter().map(|installed| installed.major).max();
    found.retain(|installed| installed.major >= POSTGRES_MIN);
    match newest {
        _ if !found.is_empty() => Ok(Postgres(found)),
        Some(old) => Err(format!("PostgreSQL {POSTGRES_MIN} or newer is needed, and only {old} was found.")),
        None => Err(format!("PostgreSQL {POSTGRES_MIN} or newer is needed, and none was found.")),
    }
}

/// Debian's PATH has wrappers of the client programs only; a server is all three of these.
fn installed(bin: PathBuf) -> Option<Installed> {
    let complete = ["postgres", "initdb", "pg_ctl"].iter().all(|name| bin.join(name).is_file());
    let (_, major) = complete.then(|| version(&bin.join("postgres")))??;
    Some(Installed { major, bin })
}

fn redis() -> Result<PathBuf, String> {
    let need = format!("Redis {REDIS_MIN} or newer, or Valkey {VALKEY_MIN} or newer, is needed");
    let mut old = None;
    for dir in path_dirs().into_iter().chain(REDIS_PLACES.iter().map(PathBuf::from)) {
        for name in ["redis-server", "valkey-server"] {
            let program = dir.join(name);
            if !program.is_file() {
                continue;
            }
            // By its answer, not its name: distributions install Valkey as redis-server.
            let Some((product, major)) = version(&program) else { continue };
            let min = if product.starts_with("Redis") { REDIS_MIN } else { VALKEY_MIN };
            if major >= min {
                return Ok(program);
            }
            old = old.or(Some(format!("{} is version {major}", program.display())));
        }
    }
    Err(match old {
        Some(old) => format!("{need}, but {old}."),
        None => format!("{need}, and none was found."),
    })
}

/// The first line of `--version`, and the major version in it.
fn version(program: &Path) -> Option<(String, u32)> {
    let answer = Command::new(program).arg("--version").output().ok()?;
    let line = String::from_utf8_lossy(&answer.stdout).lines().next()?.to_owned();
    let major = first_number(&line)?;
    Some((line, major))
}

fn first_number(line: &str) -> Option<u32> {
    line.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
}

fn path_dirs() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// The directories that a pattern with one `*` names.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.into()] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| PathBuf::from(format!("{}{after}", entry.path().display())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_major_version_that_servers_tell() {
        for (line, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", 15),
            ("postgres (PostgreSQL) 18beta1", 18),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", 7),
            ("Valkey server v=8.1.1 sha=00000000:1 malloc=jemalloc-5.3.0 bits=64", 8),
        ] {
            assert_eq!(first_number(line), Some(major), "{line}");
        }
    }

    #[test]
    fn expands_a_star_within_a_name() {
        let root = tempfile::tempdir().unwrap();
        for name in ["pg-15", "pg-17", "other"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let mut found = expand(&format!("{}/pg-*/bin", root.path().display()));
        found.sort();
        assert_eq!(found, ["pg-15/bin", "pg-17/bin"].map(|name| root.path().join(name)));
    }
}
