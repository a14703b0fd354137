//! The pool, none of whose callers waits for a server that fell silent.
//!
//! A connection that the other end closed is known at once. One that a firewall forgot stays open for minutes and
//! answers nothing, and sqlx waits on it.

use super::Transaction;
use super::in_time::{ACQUIRE_TIMEOUT, in_time, rows_in_time};
use super::server::{self, Purpose, Unsuitable};
use super::trust::Trust;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgPool, Postgres, SqlStr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// How long a statement may wait for its first row, and each row for the next.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// The same for [`Pool::for_long_statements`]: longer than Postgres lets a statement run.
const LONG_ANSWER_TIMEOUT: Duration = Duration::from_secs(65);

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
    trust: Arc<Trust>,
    answer_timeout: Duration,
    /// How many connections those that share it hold at most, if not all.
    share: Option<Arc<Semaphore>>,
}

/// Why no connection was opened.
pub(super) enum OpenError {
    /// There is a server, of the wrong kind.
    Unsuitable(Unsuitable),
    /// None answered, or it refused the login.
    Unreachable(sqlx::Error),
}

/// Of a share; given back when dropped.
pub(super) type Place = Option<OwnedSemaphorePermit>;

/// Options with what each session of ours asks of the server.
pub(super) fn with_session(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("paceline").options(SESSION)
}

impl Pool {
    /// A pool that opens its connections when they are needed.
    pub(super) fn closed(options: PgConnectOptions, connections_max: u32, purpose: Purpose) -> Self {
        let trust = Arc::new(Trust::new(purpose));
        let inner = hooked(connections_max, &trust).connect_lazy_with(options);
        Self { inner, trust, answer_timeout: ANSWER_TIMEOUT, share: None }
    }

    /// Opens the first connection, which must lead to a server that can be used; later ones wait for such a server.
    pub(super) async fn open(&self) -> Result<(), OpenError> {
        let opened = self.inner.acquire().await;
        let unsuitable = match &opened {
            Err(error) => server::refused_by_pooler(error),
            Ok(_) => self.trust.take_unsuitable(),
        };
        self.trust.open();
        match unsuitable {
            Some(why) => Err(OpenError::Unsuitable(why)),
            None => opened.map(drop).map_err(OpenError::Unreachable),
        }
    }

    /// The same connections, for statements that may take as long as Postgres lets them: a minute.
    pub fn for_long_statements(&self) -> Self {
        Self { answer_timeout: LONG_ANSWER_TIMEOUT, ..self.clone() }
    }

    /// The same connections, of which this and its clones together hold at most so many at once.
    pub fn share(&self, connections_max: usize) -> Self {
        Self { share: Some(Arc::new(Semaphore::new(connections_max))), ..self.clone() }
    }

    /// Waits for a place in the share, as long as for a connection.
    async fn place(&self) -> Result<Place, sqlx::Error> {
        let Some(share) = &self.share else { return Ok(None) };
        match timeout(ACQUIRE_TIMEOUT, share.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            Ok(Err(_)) => Err(sqlx::Error::PoolClosed),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    /// Begins a transaction; dropped, it is rolled back.
    pub async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        let place = self.place().await?;
        let began = Instant::now();
        let transaction = in_time(self.answer_timeout, self.inner.begin()).await;
        let transaction = transaction.map_err(|error| self.trust.after(began, error))?;
        Ok(Transaction::new(transaction, place, Arc::clone(&self.trust), self.answer_timeout))
    }

    /// A connection of its own, until dropped.
    pub(super) async fn acquire(&self) -> Result<sqlx::pool::PoolConnection<Postgres>, sqlx::Error> {
        let began = Instant::now();
        self.inner.acquire().await.map_err(|error| self.trust.after(began, error))
    }

    /// Which connections may be used, for those that are not of the pool.
    pub(super) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust)
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

fn hooked(connections_max: u32, trust: &Arc<Trust>) -> PgPoolOptions {
    let [connecting, acquiring, releasing] = [trust, trust, trust].map(Arc::clone);
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Its ping has no limit, and costs a round trip before each statement.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let trust = Arc::clone(&connecting);
            Box::pin(async move { trust.admit(connection).await })
        })
        .before_acquire(move |connection, about| {
            let trust = Arc::clone(&acquiring);
            Box::pin(async move { trust.is_alive(connection, about.age, about.idle_for).await })
        })
        // The pool pings next, without a limit: a silent connection would keep its place.
        .after_release(move |connection, about| {
            let trust = Arc::clone(&releasing);
            Box::pin(async move { trust.is_alive(connection, about.age, about.idle_for).await })
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
        let pool = self.clone();
        let rows = async move {
            let (place, began) = (pool.place().await?, Instant::now());
            let rows = rows_in_time(pool.answer_timeout, pool.inner.fetch_many(query));
            Ok(rows.map_err(move |error| pool.trust.after(began, error)).inspect(move |_| {
                let _until_the_end = &place;
            }))
        };
        rows.try_flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        async move {
            let (_place, began) = (pool.place().await?, Instant::now());
            let answer = in_time(pool.answer_timeout, pool.inner.fetch_optional(query)).await;
            answer.map_err(|error| pool.trust.after(began, error))
        }
        .boxed()
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
