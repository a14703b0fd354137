//! The schema: migrations, and changes to tables that other sessions are using.

use super::{Pool, PostgresError, Transaction, is_lock_timeout};
use crate::retry::Retry;
use sqlx::migrate::{Migrate, MigrateError, Migration, Migrator};
use sqlx::postgres::PgAdvisoryLock;
use sqlx::{Executor, PgConnection, Postgres};
use std::time::Duration;
use tokio::time::sleep;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// How long a schema change may wait for a table lock. Every later query on the table queues behind the waiting change,
/// so this bounds how long readings wait, too.
pub const LOCK_WAIT: Duration = Duration::from_millis(200);

/// A migration that cannot have its locks is tried again with these delays, so many times.
const MIGRATION_RETRY: Retry = Retry { base: Duration::from_millis(500), cap: Duration::from_secs(5) };
const MIGRATION_TRIES: u32 = 10;

/// Begins a transaction for a schema change. A lock that it cannot have within [`LOCK_WAIT`] is an error.
pub async fn begin_ddl(pool: &Pool) -> Result<Transaction, PostgresError> {
    let mut transaction = pool.begin().await.map_err(PostgresError::on("begin a transaction"))?;
    limit_lock_wait(&mut transaction, "SET LOCAL", LOCK_WAIT).await?;
    Ok(transaction)
}

/// Zero is no limit.
async fn limit_lock_wait<'c>(
    connection: impl Executor<'c, Database = Postgres>,
    set: &'static str,
    limit: Duration,
) -> Result<(), PostgresError> {
    let statement = format!("{set} lock_timeout = {}", limit.as_millis());
    let done = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(connection).await;
    done.map(drop).map_err(PostgresError::on("set lock_timeout"))
}

/// Brings the schema up to this version. One process does it, the others wait.
pub async fn migrate(pool: &Pool) -> Result<(), PostgresError> {
    let mut connection = pool.acquire().await.map_err(PostgresError::on("connect"))?;
    // A migration that fails leaves sqlx's own advisory lock and our lock_timeout on its session.
    connection.close_on_drop();
    // A migration takes as long as it takes.
    let unlimited = sqlx::query("SET statement_timeout = 0").execute(&mut *connection).await;
    unlimited.map_err(PostgresError::on("set statement_timeout"))?;
    // Another process may migrate for minutes.
    limit_lock_wait(&mut *connection, "SET", Duration::ZERO).await?;
    let lock = PgAdvisoryLock::new("paceline migrate");
    let mut connection = lock.acquire(connection).await.map_err(PostgresError::on("take a lock"))?;
    for migration in MIGRATIONS.iter() {
        apply(&mut connection, migration).await?;
    }
    Ok(())
}

/// Applies a migration unless it is applied already.
async fn apply(connection: &mut PgConnection, migration: &Migration) -> Result<(), PostgresError> {
    // What runs outside of a transaction, as CREATE INDEX CONCURRENTLY does, blocks nobody while it waits; and a
    // timeout would leave an invalid index.
    let limit = if migration.no_tx { Duration::ZERO } else { LOCK_WAIT };
    limit_lock_wait(&mut *connection, "SET", limit).await?;
    let mut tries = 0;
    loop {
        let error = match MIGRATIONS.run_to(migration.version, &mut *connection).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        tries += 1;
        if !is_locked(&error) {
            return Err(error.into());
        }
        if tries == MIGRATION_TRIES {
            return Err(PostgresError::Locked { what: format!("apply migration {}", migration.version) });
        }
        if tries == 1 {
            tracing::warn!(migration = migration.version, "a table is in use by a long query; trying again");
        }
        sleep(MIGRATION_RETRY.bound(tries - 1)).await;
    }
}

fn is_locked(error: &MigrateError) -> bool {
    matches!(error, MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)
        if is_lock_timeout(source))
}

/// Refuses a schema that is behind this version.
pub async fn check_migrated(pool: &Pool) -> Result<(), PostgresError> {
    let mut connection = pool.acquire().await.map_err(PostgresError::on("connect"))?;
    let table = &MIGRATIONS.table_name;
    connection.ensure_migrations_table(table).await?;
    let applied = connection.list_applied_migrations(table).await?;
    let missing = MIGRATIONS.iter().filter(|m| !applied.iter().any(|a| a.version == m.version)).count();
    if missing == 0 { Ok(()) } else { Err(PostgresError::NotMigrated { missing }) }
}
