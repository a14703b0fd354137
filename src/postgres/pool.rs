//! The pool, none of whose callers waits for a server that fell silent.
//!
//! A connection that the other end closed is known at once. One that a firewall forgot stays open for minutes and
//! answers nothing, and sqlx waits on it.

use super::in_time::{ACQUIRE_TIMEOUT, in_time, rows_in_time};
use super::server::{self, Unsuitable};
use super::{PostgresError, Transaction, is_read_only};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
};
use sqlx::{Connection, Describe, Either, Execute, Executor, PgPool, Postgres, SqlStr};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a statement may wait for its first row, and each row for the next.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// The same for [`Pool::for_long_statements`]: longer than Postgres lets a statement run.
const LONG_ANSWER_TIMEOUT: Duration = Duration::from_secs(65);
/// How long a connection may take to show that it is alive.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was used as recently is taken to be alive.
const PING_AFTER: Duration = Duration::from_secs(1);

/// What each session asks of the server. None outlives a client that is gone, with its locks.
const SESSION: [(&str, &str); 7] = [
    ("statement_timeout", server::STATEMENT_TIMEOUT),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "3"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
];

/// Connections to Postgres; clones share them. It executes queries as a reference, like [`PgPool`].
#[derive(Debug, Clone)]
pub struct Pool {
    inner: PgPool,
    shared: Arc<Shared>,
    answer_timeout: Duration,
}

/// What all clones, and the hooks of the pool, know.
#[derive(Debug)]
struct Shared {
    /// Connections opened before are closed instead of used: one as old fell silent, or led to a server that takes no
    /// writes.
    trusted_since: Mutex<Instant>,
    /// Why the newest connection cannot be used.
    unsuitable: Mutex<Option<Unsuitable>>,
    /// From then on an unsuitable server is waited for: there was a good one at this address.
    is_open: AtomicBool,
}

impl Shared {
    fn distrust(&self, why: &str) {
        *lock(&self.trusted_since) = Instant::now();
        tracing::warn!(why, "gave up the connections to Postgres; opening others");
    }

    /// Looks at how a statement ended. Returns what the caller gets.
    fn after(&self, error: sqlx::Error) -> sqlx::Error {
        match &error {
            sqlx::Error::Io(io) if io.kind() == io::ErrorKind::TimedOut => self.distrust("no answer in time"),
            _ if is_read_only(&error) => self.distrust("the server takes no writes"),
            sqlx::Error::PoolTimedOut => {
                if let Some(why) = lock(&self.unsuitable).as_ref() {
                    return sqlx::Error::Protocol(format!("the server cannot hold the data: {why}"));
                }
            }
            _ => {}
        }
        error
    }

    /// Whether a connection of this age may be used.
    async fn is_alive(
        &self,
        connection: &mut PgConnection,
        age: Duration,
        idle: Duration,
    ) -> Result<bool, sqlx::Error> {
        if Instant::now() - age < *lock(&self.trusted_since) {
            return Ok(false);
        }
        if idle == Duration::ZERO || idle > PING_AFTER {
            in_time(PING_TIMEOUT, connection.ping()).await.map_err(|error| self.after(error))?;
        }
        Ok(true)
    }

    /// Refuses a new connection to a server that cannot hold the data.
    async fn admit(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let found = in_time(PING_TIMEOUT, server::look(connection)).await?;
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

/// Options with what each session of ours asks of the server.
pub(super) fn with_session(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("paceline").options(SESSION)
}

impl Pool {
    /// Opens a pool whose first connection is open and leads to a server that can hold the data. `at` names the
    /// server in errors.
    pub(super) async fn open(
        options: PgConnectOptions,
        connections_max: u32,
        at: &str,
    ) -> Result<Self, PostgresError> {
        let shared = Arc::new(Shared {
            trusted_since: Mutex::new(Instant::now()),
            unsuitable: Mutex::new(None),
            is_open: AtomicBool::new(false),
        });
        let opened = hooked(connections_max, &shared).connect_with(options).await;
        let unsuitable = match &opened {
            Err(error) => server::refused_by_pooler(error),
            Ok(_) => lock(&shared.unsuitable).take(),
        };
        if let Some(why) = unsuitable {
            return Err(PostgresError::Unsuitable { at: at.to_owned(), why });
        }
        let inner = opened.map_err(|error| PostgresError::Unreachable {
            at: at.to_owned(),
            reason: super::plain(&error),
        })?;
        shared.is_open.store(true, Ordering::Relaxed);
        Ok(Self { inner, shared, answer_timeout: ANSWER_TIMEOUT })
    }

    /// The same connections, for statements that may take as long as Postgres lets them: a minute.
    pub fn for_long_statements(&self) -> Self {
        Self { answer_timeout: LONG_ANSWER_TIMEOUT, ..self.clone() }
    }

    /// Begins a transaction; dropped, it is rolled back.
    pub async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        let transaction = in_time(self.answer_timeout, self.inner.begin()).await;
        let transaction = transaction.map_err(|error| self.shared.after(error))?;
        Ok(Transaction::new(transaction, self.answer_timeout))
    }

    /// A connection of its own, until dropped.
    pub(super) async fn acquire(&self) -> Result<sqlx::pool::PoolConnection<Postgres>, sqlx::Error> {
        self.inner.acquire().await.map_err(|error| self.shared.after(error))
    }

    /// Options that connect to the same server.
    pub(super) fn connect_options(&self) -> PgConnectOptions {
        (*self.inner.connect_options()).clone()
    }

    /// Closes all connections once they are given back; queries from now on fail.
    pub async fn close(&self) {
        self.inner.close().await;
    }
}

fn hooked(connections_max: u32, shared: &Arc<Shared>) -> PgPoolOptions {
    let [connecting, acquiring, releasing] = [shared, shared, shared].map(Arc::clone);
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Its ping has no limit, and costs a round trip before each statement.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let shared = Arc::clone(&connecting);
            Box::pin(async move { shared.admit(connection).await })
        })
        .before_acquire(move |connection, about| {
            let shared = Arc::clone(&acquiring);
            Box::pin(async move { shared.is_alive(connection, about.age, about.idle_for).await })
        })
        // The pool pings next, without a limit: a silent connection would keep its place.
        .after_release(move |connection, about| {
            let shared = Arc::clone(&releasing);
            Box::pin(async move { shared.is_alive(connection, about.age, about.idle_for).await })
        })
}

impl<'p> Executor<'p> for &'_ Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let shared = Arc::clone(&self.shared);
        rows_in_time(self.answer_timeout, self.inner.fetch_many(query))
            .map_err(move |error| shared.after(error))
            .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let shared = Arc::clone(&self.shared);
        let answer = in_time(self.answer_timeout, self.inner.fetch_optional(query));
        async move { answer.await.map_err(|error| shared.after(error)) }.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        in_time(self.answer_timeout, self.inner.prepare_with(sql, parameters)).boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        in_time(self.answer_timeout, self.inner.describe(sql)).boxed()
    }
}
