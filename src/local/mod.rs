//! Private PostgreSQL and Redis servers for the first run, the demo and the tests: on loopback, behind random
//! passwords, their data under one directory.
//!
//! Several processes may share them (`paceline lag` beside `paceline serve`): each holds a seat, and the last to
//! give up its seat stops the servers. On Linux a killed process counts as having left; see `keeper.sh`.
//! Elsewhere the servers outlive a killed process, and the next start adopts them.

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
use self::lock::{Leaving, Seat};
use self::state::State;

/// A pair of running servers and this process's seat among their users.
///
/// Dropping it without [`Servers::stop`] gives up the seat as a killed process would.
pub struct Servers {
    /// `postgres://…`: a superuser's connection to the database `paceline`, which exists.
    pub database_url: SecretString,
    /// `redis://…`, password included. Speaks to Valkey just as well.
    pub redis_url: SecretString,
    home: Home,
    programs: find::Programs,
    seat: Seat,
}

/// Starts the servers of `dir`, or adopts them when another process already runs them.
///
/// `durability` matters when the directory is new; afterwards the directory keeps the one it was made with.
pub async fn start(dir: &Path, durability: Durability) -> Result<Servers, LocalError> {
    let programs = find::programs()?;
    home::create(dir)?;
    let gate = lock::gate(dir).await?;
    let home = Home::open(dir).await?;
    let seat = Seat::take(&home.users_lock()).await?;

    match serve(&home, &programs, durability).await {
        Ok((database_url, redis_url)) => {
            drop(gate);
            Ok(Servers { database_url, redis_url, home, programs, seat })
        }
        Err(error) => {
            // One server may be up already; the first error is the one worth telling.
            if let Err(later) = leave(seat, &home, &programs).await {
                tracing::warn!(error = %later, "could not clean up after a failed start");
            }
            Err(error)
        }
    }
}

impl Servers {
    /// Gives up this process's seat; when it was the last one, stops both servers and waits until they are gone.
    pub async fn stop(self) -> Result<(), LocalError> {
        let _gate = lock::gate(self.home.dir()).await?;
        leave(self.seat, &self.home, &self.programs).await
    }
}

/// Brings up both servers and returns the URLs of PostgreSQL and Redis.
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

/// Must be called behind the gate, so that nobody sits down while the last one leaves.
async fn leave(seat: Seat, home: &Home, programs: &find::Programs) -> Result<(), LocalError> {
    let Leaving::Last(_users) = seat.leave().await? else {
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
