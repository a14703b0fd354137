//! Advisory locks: one process at a time. Postgres releases a dead process's lock with its connection.

use super::in_time::{ACQUIRE_TIMEOUT, in_time};
use super::{Pool, PostgresError};
use sqlx::postgres::{PgAdvisoryLock, PgAdvisoryLockGuard, PgConnection};
use sqlx::{Connection, Either};

/// Holds a named lock, on a connection of its own: its holder works with those of the pool.
pub struct Held {
    guard: PgAdvisoryLockGuard<PgConnection>,
}

/// Takes the lock of this name; none if another holds it.
pub async fn try_lock(pool: &Pool, name: &str) -> Result<Option<Held>, PostgresError> {
    let options = pool.connect_options();
    let connection = in_time(ACQUIRE_TIMEOUT, PgConnection::connect_with(&options)).await;
    let connection = connection.map_err(PostgresError::on("connect"))?;
    let lock = PgAdvisoryLock::new(name);
    let taken = in_time(ACQUIRE_TIMEOUT, lock.try_acquire(connection)).await;
    match taken.map_err(PostgresError::on("take a lock"))? {
        Either::Left(guard) => Ok(Some(Held { guard })),
        Either::Right(connection) => {
            close(connection).await;
            Ok(None)
        }
    }
}

impl Held {
    /// Gives it up at once. One that is dropped is given up as soon as Postgres sees its connection closed.
    pub async fn release(self) {
        match in_time(ACQUIRE_TIMEOUT, self.guard.release_now()).await {
            Ok(connection) => close(connection).await,
            Err(error) => tracing::debug!(%error, "lock not released; it goes with its connection"),
        }
    }
}

async fn close(connection: PgConnection) {
    if let Err(error) = in_time(ACQUIRE_TIMEOUT, connection.close()).await {
        tracing::debug!(%error, "connection not closed");
    }
}
