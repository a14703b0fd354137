//! Partitions of the history, one per day: creating, moving rows out of the default partition, dropping.

use crate::support::TestApp;
use paceline::record::history;
use paceline::words::UnixMs;
use sqlx::AssertSqlSafe;

/// 2026-03-10T12:00:00Z.
const NOW: UnixMs = UnixMs(1_773_144_000_000);

async fn count(t: &TestApp, table: &str) -> i64 {
    let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(sql).fetch_one(&t.app.pool).await.unwrap()
}

/// Inserts a reading and an event of this instant.
async fn insert_history(t: &TestApp, at: &str) {
    let reading = "INSERT INTO readings (tenant_id, device_id, resource, fetched_at, online, \"values\")
                   VALUES (1, 1, 'state', $1::timestamptz, true, '{}')";
    let event =
        "INSERT INTO sync_events (tenant_id, job_id, at, outcome) VALUES (1, 1, $1::timestamptz, 'gone')";
    for sql in [reading, event] {
        sqlx::query(sqlx::AssertSqlSafe(sql.replace("$1", &format!("'{at}'"))))
            .execute(&t.app.pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn rows_older_than_their_partition_move_into_it() {
    let t = TestApp::with(&[]).await;
    for at in ["2026-03-10T00:00:00Z", "2026-03-10T23:59:59.999Z", "2026-03-09T23:59:59Z"] {
        insert_history(&t, at).await;
    }
    for _ in 0..2 {
        history::ensure(&t.app.pool, NOW, 1).await.unwrap();
        for parent in ["readings", "sync_events"] {
            assert_eq!(count(&t, &format!("{parent}_20260310")).await, 2);
            assert_eq!(count(&t, &format!("{parent}_20260311")).await, 0);
            assert_eq!(count(&t, &format!("{parent}_other")).await, 1);
            assert_eq!(count(&t, parent).await, 3);
        }
    }
    insert_history(&t, "2026-03-10T12:00:00Z").await;
    assert_eq!(count(&t, "readings_20260310").await, 3);
}

#[tokio::test]
async fn partitions_created_by_several_processes_at_once_do_not_conflict() {
    let t = TestApp::with(&[]).await;
    insert_history(&t, "2026-03-10T12:00:00Z").await;
    let ensure = || history::ensure(&t.app.pool, NOW, 3);
    let (a, b, c) = tokio::join!(ensure(), ensure(), ensure());
    assert!([a, b, c].iter().all(Result::is_ok));
    assert_eq!(count(&t, "readings_20260310").await, 1);
}

#[tokio::test]
async fn partition_that_cannot_be_created_does_not_block_others() {
    let t = TestApp::with(&[]).await;
    let overlap =
        "CREATE TABLE odd PARTITION OF readings FOR VALUES FROM ('2026-03-10Z') TO ('2026-03-10 01:00Z')";
    sqlx::query(overlap).execute(&t.app.pool).await.unwrap();
    assert!(history::ensure(&t.app.pool, NOW, 1).await.is_err());
    assert_eq!(count(&t, "readings_20260311").await, 0);
}

#[tokio::test]
async fn rows_older_than_the_retention_are_deleted_from_every_partition() {
    let t = TestApp::with(&[]).await;
    let days = |n: i64| UnixMs(NOW.0 - n * 86_400_000);
    history::ensure(&t.app.pool, days(31), 1).await.unwrap();
    for at in ["2026-02-07T00:00:00Z", "2026-02-08T00:00:00Z", "2025-12-01T00:00:00Z", "2026-03-10T00:00:00Z"]
    {
        insert_history(&t, at).await;
    }
    let mut dropped = history::drop_old(&t.app.pool, NOW, 30).await.unwrap();
    dropped.sort();
    assert_eq!(dropped, ["readings_20260207", "readings_other", "sync_events_20260207", "sync_events_other"]);
    for parent in ["readings", "sync_events"] {
        assert_eq!(count(&t, &format!("{parent}_20260208")).await, 1);
        assert_eq!(count(&t, &format!("{parent}_other")).await, 1);
    }
    assert!(history::drop_old(&t.app.pool, NOW, 30).await.unwrap().is_empty());
}
