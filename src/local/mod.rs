//! Private PostgreSQL and Redis servers for the first run, the demo and the tests: on loopback, behind random
//! passwords, their data under one directory.
//!
//! Several processes may share them (`paceline lag` beside `paceline serve`): each holds the users' lock, and the last
//! to release it stops the servers. On Linux they also stop when the last user is killed; see `run_server.sh`.
//! Elsewhere they outlive a killed process, and the next start reuses them.

mod account;
mod error;
mod find;
mod home;
mod launch;
mod lock;
mod occupant;
mod postgres;
mod redis;
mod state;

use std::path::Path;

use secrecy::SecretString;

pub use self::error::LocalError;
pub use self::state::Durability;

use self::home::Home;
use self::lock::{Released, UserLock};
use self::state::State;

/// A pair of running servers, and this process's share of their users' lock.
///
/// Dropping it without [`Servers::stop`] releases the lock, as the end of the process would.
pub struct Servers {
    /// `postgres://…`: a superuser's connection to the database `paceline`, which exists.
    pub database_url: SecretString,
    /// `redis://…`, password included. The server may be Valkey.
    pub redis_url: SecretString,
    home: Home,
    programs: find::Programs,
    user: UserLock,
}

/// Starts the servers of `dir`, or reuses those that run already.
///
/// `durability` counts when the directory is new; afterwards it keeps the one that it was created with.
pub async fn start(dir: &Path, durability: Durability) -> Result<Servers, LocalError> {
    let programs = find::programs()?;
    home::create(dir)?;
    let start_lock = lock::start_lock(dir).await?;
    let home = Home::open(dir).await?;
    let user = UserLock::acquire(&home.users_lock()).await?;

    match serve(&home, &programs, durability).await {
        Ok((database_url, redis_url)) => {
            drop(start_lock);
            Ok(Servers { database_url, redis_url, home, programs, user })
        }
        Err(error) => {
            // One server may run already. The first error is the one to report.
            if let Err(later) = leave(user, &home, &programs).await {
                tracing::warn!(error = %later, "could not clean up after a failed start");
            }
            Err(error)
        }
    }
}

impl Servers {
    /// Releases the users' lock; the last user stops both servers and waits until they have exited.
    pub async fn stop(self) -> Result<(), LocalError> {
        let _start_lock = lock::start_lock(self.home.dir()).await?;
        leave(self.user, &self.home, &self.programs).await
    }
}

/// Starts both servers and returns the URLs of PostgreSQL and Redis.
async fn serve(
    home: &Home,
    programs: &find::Programs,
    durability: Durability,
) -> Result<(SecretString, SecretString), LocalError> {
    let mut state = State::load_or_create(&home.state_file(), durability)?;
    postgres::ensure(home, &programs.postgres, &mut state).await?;
    redis::ensure(home, &programs.redis, &mut state).await?;
    Ok((postgres::url(&state.postgres, "paceline"), redis::url(&state.redis)))
}

/// Call it under the start lock, so that no new user arrives while the last one stops the servers.
async fn leave(user: UserLock, home: &Home, programs: &find::Programs) -> Result<(), LocalError> {
    let Released::Last(_users) = user.release().await? else {
        tracing::debug!("other processes still use the local servers: leaving them running");
        return Ok(());
    };
    // A directory whose first start failed early has no state, and no servers.
    let Some(state) = State::load(&home.state_file())? else { return Ok(()) };
    redis::stop(home, &state).await?;
    postgres::stop(home, &programs.postgres).await?;
    if state.durability == Durability::Scratch {
        home.empty()?;
    }
    tracing::info!(dir = %home.root().display(), "local servers stopped");
    Ok(())
}
