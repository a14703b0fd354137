//! Limits on how long an answer is waited for: sqlx has none.

use futures::stream::{BoxStream, unfold};
use futures::{StreamExt, TryStreamExt};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// How long a caller waits for a connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// As [`sqlx::Error`], so that it is treated like any other lost connection.
fn silent() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
}

/// The answer; an error if it takes longer than `limit`.
pub(super) async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, answer).await.unwrap_or_else(|_| Err(silent()))
}

/// The rows; a wait longer than `limit` for the next ends them with an error.
pub(super) fn rows_in_time<'e, T: Send + 'e>(
    limit: Duration,
    rows: BoxStream<'e, Result<T, sqlx::Error>>,
) -> BoxStream<'e, Result<T, sqlx::Error>> {
    unfold(Some(rows), move |rows| async move {
        let mut rows = rows?;
        match in_time(limit, rows.try_next()).await {
            Ok(Some(row)) => Some((Ok(row), Some(rows))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}
