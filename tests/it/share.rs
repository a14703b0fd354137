//! Readers and the work share the connections to Postgres.

use crate::support::TestApp;
use futures::future::join_all;
use sqlx::Executor;
use std::time::Duration;
use tokio::time::{Instant, timeout};

#[tokio::test]
async fn readers_never_hold_the_connections_that_the_work_needs() {
    let t = TestApp::with_settings(&[], |s| s.database.connections_max = 4).await;
    let readers = t.app.for_readers().pool;
    let began = Instant::now();
    // Three at a time, so that the last begins after a second: rows, one row, and a transaction.
    let reading = async {
        let rows = async || sqlx::query("SELECT pg_sleep(1)").fetch_all(&readers).await.map(drop);
        let row = async || sqlx::query("SELECT pg_sleep(1)").fetch_optional(&readers).await.map(drop);
        let transaction = async || {
            let mut transaction = readers.begin().await?;
            transaction.execute("SELECT pg_sleep(1)").await?;
            transaction.commit().await
        };
        let (rows, row, transaction) = (join_all([rows(), rows()]), row(), transaction());
        let (rows, row, transaction) = tokio::join!(rows, row, transaction);
        rows.into_iter().chain([row, transaction]).collect::<Result<Vec<_>, _>>().unwrap();
        began.elapsed()
    };
    let working = async {
        for _ in 0..20 {
            let answer = sqlx::query("SELECT 1").fetch_one(&t.app.pool);
            timeout(Duration::from_millis(500), answer).await.expect("a connection").unwrap();
        }
    };
    let (read, ()) = tokio::join!(reading, working);
    assert!(read >= Duration::from_secs(2), "{read:?}");
}
