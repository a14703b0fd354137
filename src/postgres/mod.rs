//! Plumbing to Postgres: the pool, the schema it must have, and advisory locks.

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::str::FromStr;
use std::time::Duration;

mod lock;
mod schema;
mod server;

pub use lock::{Held, try_lock};
pub use schema::{LOCK_WAIT, begin_ddl, check_migrated, migrate};
pub use server::{POSTGRES_MIN, Unsuitable};
pub use sqlx::PgPool as Pool;
pub use sqlx::postgres::PgListener as Listener;

/// How long a caller waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// What went wrong with Postgres.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// At start.
    #[error("cannot reach Postgres at {at}: {reason}; check database.url and that the server runs")]
    Unreachable {
        /// Host, port and database.
        at: String,
        /// The driver's error.
        reason: String,
    },
    /// The URL cannot be read.
    #[error("database.url is not a Postgres URL: {0}; write postgres://user:password@host:5432/database")]
    BadUrl(String),
    /// It cannot hold the data.
    #[error("cannot use the Postgres at {at}: {why}")]
    Unsuitable {
        /// Host, port and database.
        at: String,
        /// What is wrong, and what to do.
        why: Unsuitable,
    },
    /// The schema is older than this binary.
    #[error("the database lacks {missing} migration(s) of this version: run `paceline migrate` first")]
    NotMigrated {
        /// How many.
        missing: usize,
    },
    /// A migration failed; it was rolled back.
    #[error("migrating failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Other sessions use the table; nothing was changed.
    #[error(
        "Postgres could not {what}: other sessions held the table's lock for more than {} ms; end long queries and \
         idle transactions (pg_stat_activity shows them), or try again later",
        LOCK_WAIT.as_millis()
    )]
    Locked {
        /// What was asked.
        what: String,
    },
    /// While running.
    #[error("Postgres could not {what}: {source}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// The driver's error.
        source: sqlx::Error,
    },
}

impl PostgresError {
    /// For `map_err`: names what was asked.
    pub fn on(what: &'static str) -> impl FnOnce(sqlx::Error) -> Self + use<> {
        move |source| Self::Failed { what, source }
    }

    /// For `map_err`: [`PostgresError::Locked`] where a lock was not to be had in time.
    pub fn on_ddl(what: &'static str, table: &str) -> impl FnOnce(sqlx::Error) -> Self + use<> {
        let locked = format!("{what} {table}");
        move |source| match is_lock_timeout(&source) {
            true => Self::Locked { what: locked },
            false => Self::Failed { what, source },
        }
    }

    /// Whether the server could not be asked at all, so that trying again may help.
    pub fn is_outage(&self) -> bool {
        let Self::Failed { source, .. } = self else { return matches!(self, Self::Unreachable { .. }) };
        match source {
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_) => true,
            // Class 57 (operator intervention: shutdown, starting up), 53 (out of resources), 08 (connection), 40
            // (rolled back: a deadlock); 25006 (read only: a failover).
            sqlx::Error::Database(db) => db
                .code()
                .is_some_and(|c| ["57", "53", "08", "40", "25006"].iter().any(|class| c.starts_with(class))),
            _ => false,
        }
    }
}

/// Whether `lock_timeout` ended the statement.
fn is_lock_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some("55P03"))
}

/// Connects; an error names the address, the reason and the setting to check.
pub async fn connect(url: &SecretString, connections_max: u32) -> Result<PgPool, PostgresError> {
    let options =
        PgConnectOptions::from_str(url.expose_secret()).map_err(|e| PostgresError::BadUrl(e.to_string()))?;
    let database = options.get_database().unwrap_or("postgres").to_owned();
    let at = format!("{}:{}/{database}", options.get_host(), options.get_port());
    let pool = PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options.application_name("paceline"))
        .await
        .map_err(|error| PostgresError::Unreachable { at: at.clone(), reason: plain(&error) })?;
    server::check(&pool, &at).await?;
    Ok(pool)
}

/// The server's own sentence, without the driver's wrapping.
fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(db) => db.message().to_owned(),
        sqlx::Error::PoolTimedOut => "no answer within 3 s".to_owned(),
        other => other.to_string(),
    }
}

/// Opens a connection of its own that receives notifications.
pub async fn listen(pool: &PgPool, channel: &str) -> Result<Listener, PostgresError> {
    // A pool of its own: a listener keeps its connection, and would take it from everybody else in `pool`.
    let options = (*pool.connect_options()).clone();
    let own = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let own = own.acquire_timeout(ACQUIRE_TIMEOUT).connect_with(options).await;
    let own = own.map_err(PostgresError::on("listen"))?;
    let mut listener = Listener::connect_with(&own).await.map_err(PostgresError::on("listen"))?;
    listener.listen(channel).await.map_err(PostgresError::on("listen"))?;
    Ok(listener)
}

/// Whether the server answers.
pub async fn ping<'a>(on: impl sqlx::PgExecutor<'a>) -> Result<(), PostgresError> {
    sqlx::query("SELECT 1").execute(on).await.map(drop).map_err(PostgresError::on("answer"))
}
