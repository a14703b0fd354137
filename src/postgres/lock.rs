//! Advisory locks: one process at a time. Postgres releases a dead process's lock with its connection.

use super::{Pool, PostgresError};
use sqlx::postgres::{PgAdvisoryLock, PgAdvisoryLockGuard};

/// Holds a named lock while it lives.
pub struct Held {
    _guard: PgAdvisoryLockGuard<sqlx::pool::PoolConnection<sqlx::Postgres>>,
}

/// Waits for the lock of this name.
pub async fn lock(pool: &Pool, name: &str) -> Result<Held, PostgresError> {
    let connection = pool.acquire().await.map_err(PostgresError::on("connect"))?;
    let guard =
        PgAdvisoryLock::new(name).acquire(connection).await.map_err(PostgresError::on("take a lock"))?;
    Ok(Held { _guard: guard })
}
