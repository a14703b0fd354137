//! Partitions of the history, one per day: created, filled, dropped, and never in the way of readings.

use crate::support::{TestApp, empty_database};
use paceline::postgres::{self, PostgresError};
use paceline::record::history;
use paceline::words::UnixMs;
use secrecy::ExposeSecret;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Far longer than any wait for a lock may be.
const TIMEOUT: Duration = Duration::from_secs(20);

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
    // One may have held the lock for longer than another waits; the keeper's own lock prevents that.
    assert!([a, b, c].iter().all(|made| matches!(made, Ok(()) | Err(PostgresError::Locked { .. }))));
    ensure().await.unwrap();
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
    let dropped = history::drop_old(&t.app.pool, NOW, 30).await;
    dropped.result.unwrap();
    let mut dropped = dropped.names;
    dropped.sort();
    assert_eq!(dropped, ["readings_20260207", "readings_other", "sync_events_20260207", "sync_events_other"]);
    for parent in ["readings", "sync_events"] {
        assert_eq!(count(&t, &format!("{parent}_20260208")).await, 1);
        assert_eq!(count(&t, &format!("{parent}_other")).await, 1);
    }
    let again = history::drop_old(&t.app.pool, NOW, 30).await;
    assert!(again.result.is_ok() && again.names.is_empty(), "{again:?}");
}

#[tokio::test]
async fn partition_in_use_is_dropped_later_and_readings_land_meanwhile() {
    let t = TestApp::with(&[]).await;
    let days = |n: i64| UnixMs(NOW.0 - n * 86_400_000);
    history::ensure(&t.app.pool, days(31), 0).await.unwrap();
    history::ensure(&t.app.pool, NOW, 0).await.unwrap();
    let mut long = t.app.pool.begin().await.unwrap();
    long.execute("SELECT count(*) FROM readings_20260207").await.unwrap();

    let both = async {
        tokio::join!(history::drop_old(&t.app.pool, NOW, 30), insert_history(&t, "2026-03-10T12:00:00Z")).0
    };
    let dropped = timeout(TIMEOUT, both).await.expect("neither waits for the long query");
    assert!(
        matches!(&dropped.result, Err(PostgresError::Locked { what }) if what == "drop readings_20260207"),
        "{dropped:?}"
    );
    assert_eq!(dropped.names, ["sync_events_20260207"]);
    assert_eq!(count(&t, "readings_20260310").await, 1);

    long.commit().await.unwrap();
    let dropped = history::drop_old(&t.app.pool, NOW, 30).await;
    assert!(dropped.result.is_ok(), "{dropped:?}");
    assert_eq!(dropped.names, ["readings_20260207"]);
}

#[tokio::test]
async fn partition_is_created_later_when_the_table_is_in_use() {
    let t = TestApp::with(&[]).await;
    let mut long = t.app.pool.begin().await.unwrap();
    long.execute("SELECT count(*) FROM readings").await.unwrap();

    let both = async {
        tokio::join!(history::ensure(&t.app.pool, NOW, 0), insert_history(&t, "2026-03-10T12:00:00Z")).0
    };
    let ensured = timeout(TIMEOUT, both).await.expect("neither waits for the long query");
    assert!(matches!(ensured, Err(PostgresError::Locked { .. })), "{ensured:?}");
    assert_eq!(count(&t, "readings_other").await, 1);

    long.commit().await.unwrap();
    history::ensure(&t.app.pool, NOW, 0).await.unwrap();
    assert_eq!(count(&t, "readings_20260310").await, 1);
}

#[tokio::test]
async fn migration_waits_for_a_table_in_use_and_writes_go_on() {
    let url = empty_database().await;
    let mut admin = PgConnection::connect(url.expose_secret()).await.unwrap();
    // The next one alters `tenants`.
    Migrator::new(Path::new("migrations")).await.unwrap().run_to(1, &mut admin).await.unwrap();
    let pool = postgres::connect(&url, 8).await.unwrap();
    let mut long = pool.begin().await.unwrap();
    long.execute("SELECT count(*) FROM tenants").await.unwrap();

    // Writes queue behind a change that waits, so the change must stop waiting before the long query ends.
    let queued = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tenants'::regclass
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let meanwhile = async {
        while sqlx::query_scalar::<_, i64>(queued).fetch_one(&pool).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        pool.execute("UPDATE tenants SET name = name").await.unwrap();
        long.commit().await.unwrap();
    };
    let both = async { tokio::join!(postgres::migrate(&pool), meanwhile).0 };
    timeout(TIMEOUT, both).await.expect("the write does not wait for the long query").unwrap();
    postgres::check_migrated(&pool).await.unwrap();
}
