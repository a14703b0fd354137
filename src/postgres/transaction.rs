//! Transactions, whose statements do not wait for a server that fell silent either.

use super::in_time::{in_time, rows_in_time};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, Postgres, SqlStr};
use std::time::Duration;

/// A transaction that is rolled back when dropped. It executes queries as `&mut`.
#[derive(Debug)]
pub struct Transaction {
    inner: sqlx::Transaction<'static, Postgres>,
    answer_timeout: Duration,
}

impl Transaction {
    pub(super) fn new(inner: sqlx::Transaction<'static, Postgres>, answer_timeout: Duration) -> Self {
        Self { inner, answer_timeout }
    }

    /// Makes its changes last. After an error they may have been made all the same.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        in_time(self.answer_timeout, self.inner.commit()).await
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
        rows_in_time(self.answer_timeout, self.inner.fetch_many(query))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        in_time(self.answer_timeout, self.inner.fetch_optional(query)).boxed()
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
