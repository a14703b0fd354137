//! Plumbing to Postgres: the pool, the schema it must have, and advisory locks.

use pool::OpenError;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use std::str::FromStr;

mod in_time;
mod listen;
mod lock;
mod pool;
mod replica;
mod schema;
mod server;
mod statistics;
mod transaction;
mod trust;

pub use listen::Listener;
pub use lock::{Held, try_lock};
pub use pool::Pool;
pub use replica::{Read, Reads};
pub use schema::{LOCK_WAIT, begin_ddl, check_migrated, migrate};
pub use server::{POSTGRES_MIN, Purpose, Unsuitable};
pub use statistics::analyze_grown;
pub use transaction::Transaction;

/// What went wrong with Postgres.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// At start.
    #[error("cannot reach Postgres at {at}: {reason}; check {} and that the server runs", .purpose.setting())]
    Unreachable {
        /// Which server.
        purpose: Purpose,
        /// Host, port and database.
        at: String,
        /// The driver's error.
        reason: String,
    },
    /// The URL cannot be read.
    #[error(
        "{} is not a Postgres URL: {reason}; write postgres://user:password@host:5432/database",
        .purpose.setting()
    )]
    BadUrl {
        /// Which server's.
        purpose: Purpose,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be used.
    #[error("cannot use the Postgres at {at} ({}): {why}", .purpose.setting())]
    Unsuitable {
        /// Which server.
        purpose: Purpose,
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
        match self {
            Self::Failed { source, .. } => is_outage(source),
            _ => matches!(self, Self::Unreachable { .. }),
        }
    }
}

fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
            true
        }
        // Class 57 (operator intervention: shutdown, starting up, a statement's time is up), 53 (out of resources), 08
        // (connection), 40 (rolled back: a deadlock, or a standby that had to apply a change), 55P03 (a lock not had in
        // time); 25006 (read only: a failover), 25P03 (idle in a transaction for too long).
        sqlx::Error::Database(db) => db.code().is_some_and(|code| {
            ["57", "53", "08", "40", "55P03", "25006", "25P03"].iter().any(|class| code.starts_with(class))
        }),
        _ => false,
    }
}

/// Whether `lock_timeout` ended the statement.
fn is_lock_timeout(error: &sqlx::Error) -> bool {
    has_code(error, "55P03")
}

/// Whether the server took no writes: it became a standby.
fn is_read_only(error: &sqlx::Error) -> bool {
    has_code(error, "25006")
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some(code))
}

/// Connects to the server that holds the data; an error names the address, the reason and the setting to check.
pub async fn connect(url: &SecretString, connections_max: u32) -> Result<Pool, PostgresError> {
    let address = Address::of(url, Purpose::Data)?;
    let pool = Pool::closed(address.options.clone(), connections_max, Purpose::Data);
    match pool.open().await {
        Ok(()) => Ok(pool),
        Err(error) => Err(address.refused(error)),
    }
}

/// Whether a URL is given.
fn is_set(url: &SecretString) -> bool {
    !url.expose_secret().is_empty()
}

/// Where a server is.
#[derive(Debug)]
struct Address {
    options: PgConnectOptions,
    purpose: Purpose,
    /// Host, port and database, for errors.
    at: String,
}

impl Address {
    fn of(url: &SecretString, purpose: Purpose) -> Result<Self, PostgresError> {
        let options = PgConnectOptions::from_str(url.expose_secret())
            .map_err(|error| PostgresError::BadUrl { purpose, reason: error.to_string() })?;
        let database = options.get_database().unwrap_or("postgres");
        let at = format!("{}:{}/{database}", options.get_host(), options.get_port());
        Ok(Self { options: pool::with_session(options), purpose, at })
    }

    fn refused(&self, error: OpenError) -> PostgresError {
        let (purpose, at) = (self.purpose, self.at.clone());
        match error {
            OpenError::Unsuitable(why) => PostgresError::Unsuitable { purpose, at, why },
            OpenError::Unreachable(error) => {
                PostgresError::Unreachable { purpose, at, reason: plain(&error) }
            }
        }
    }
}

/// The server's own sentence, without the driver's wrapping.
fn plain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(db) => db.message().to_owned(),
        sqlx::Error::PoolTimedOut => "no answer within 3 s".to_owned(),
        other => other.to_string(),
    }
}

/// Whether the server answers.
pub async fn ping(pool: &Pool) -> Result<(), PostgresError> {
    sqlx::query("SELECT 1").execute(pool).await.map(drop).map_err(PostgresError::on("answer"))
}
