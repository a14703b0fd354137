//! Which connections may be used: none as old as one that fell silent, or that leads to a server of the wrong kind.

use super::in_time::in_time;
use super::is_read_only;
use super::server::{self, Purpose, Unsuitable};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection may take to show that it is alive.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was used as recently is taken to be alive.
const PING_AFTER: Duration = Duration::from_secs(1);

/// What all clones of a pool, its hooks and its transactions know.
#[derive(Debug)]
pub(super) struct Trust {
    purpose: Purpose,
    /// Connections opened before are closed instead of used.
    since: Mutex<Instant>,
    /// Why the newest connection cannot be used.
    unsuitable: Mutex<Option<Unsuitable>>,
    /// From then on an unsuitable server is waited for: there was a good one at this address.
    is_open: AtomicBool,
}

impl Trust {
    pub fn new(purpose: Purpose) -> Self {
        Self {
            purpose,
            since: Mutex::new(Instant::now()),
            unsuitable: Mutex::new(None),
            is_open: AtomicBool::new(false),
        }
    }

    /// The pool has a first connection.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Why the newest connection could not be used; forgotten with this.
    pub fn take_unsuitable(&self) -> Option<Unsuitable> {
        lock(&self.unsuitable).take()
    }

    /// Connections opened before `began` are not used again. Those opened since may be good.
    fn leave(&self, began: Instant, why: &str) {
        let mut since = lock(&self.since);
        if began > *since {
            *since = began;
            tracing::warn!(why, "gave up the connections to Postgres; opening others");
        }
    }

    /// Looks at how a statement that began then ended. Returns what the caller gets.
    pub fn after(&self, began: Instant, error: sqlx::Error) -> sqlx::Error {
        match &error {
            sqlx::Error::Io(io) if io.kind() == io::ErrorKind::TimedOut => {
                self.leave(began, "no answer in time");
            }
            _ if is_read_only(&error) => self.leave(began, "the server takes no writes"),
            sqlx::Error::PoolTimedOut => {
                if let Some(why) = lock(&self.unsuitable).as_ref() {
                    return sqlx::Error::Protocol(format!("the server cannot be used: {why}"));
                }
            }
            _ => {}
        }
        error
    }

    /// Whether connections opened then may be used.
    pub fn reaches_back_to(&self, opened: Instant) -> bool {
        opened >= *lock(&self.since)
    }

    /// Whether a connection of this age may be used.
    pub async fn is_alive(
        &self,
        connection: &mut PgConnection,
        age: Duration,
        idle: Duration,
    ) -> Result<bool, sqlx::Error> {
        let began = Instant::now();
        if !self.reaches_back_to(began - age) {
            return Ok(false);
        }
        if idle == Duration::ZERO || idle > PING_AFTER {
            in_time(PING_TIMEOUT, connection.ping()).await.map_err(|error| self.after(began, error))?;
        }
        Ok(true)
    }

    /// Refuses a new connection to a server that cannot be used.
    pub async fn admit(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let found = in_time(PING_TIMEOUT, server::look(connection, self.purpose)).await?;
        let refused = found.as_ref().map(|why| sqlx::Error::Protocol(why.to_string()));
        *lock(&self.unsuitable) = found;
        match refused {
            Some(error) if self.is_open.load(Ordering::Relaxed) => Err(error),
            _ => Ok(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
