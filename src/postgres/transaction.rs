//! Transactions, whose statements do not wait for a server that fell silent either.

use super::in_time::{in_time, rows_in_time};
use super::trust::Trust;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, Postgres, SqlStr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// A transaction that is rolled back when dropped. It executes queries as `&mut`.
#[derive(Debug)]
pub struct Transaction {
    inner: sqlx::Transaction<'static, Postgres>,
    /// Given back with the connection.
    _place: Option<OwnedSemaphorePermit>,
    trust: Arc<Trust>,
    answer_timeout: Duration,
}

impl Transaction {
    pub(super) fn new(
        inner: sqlx::Transaction<'static, Postgres>,
        place: Option<OwnedSemaphorePermit>,
        trust: Arc<Trust>,
        answer_timeout: Duration,
    ) -> Self {
        Self { inner, _place: place, trust, answer_timeout }
    }

    /// Makes its changes last. After an error they may have been made all the same.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let began = Instant::now();
        let done = in_time(self.answer_timeout, self.inner.commit()).await;
        done.map_err(|error| self.trust.after(began, error))
    }
}

impl<'c> Executor<'c> for &'c mut Transaction {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (trust, began) = (&self.trust, Instant::now());
        rows_in_time(self.answer_timeout, self.inner.fetch_many(query))
            .map_err(move |error| trust.after(began, error))
            .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (trust, began) = (&self.trust, Instant::now());
        let answer = in_time(self.answer_timeout, self.inner.fetch_optional(query));
        async move { answer.await.map_err(|error| trust.after(began, error)) }.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        in_time(self.answer_timeout, self.inner.prepare_with(sql, parameters)).boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        in_time(self.answer_timeout, self.inner.describe(sql)).boxed()
    }
}
