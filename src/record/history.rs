//! The history's partitions: made ahead, dropped when their days are over.

use crate::postgres::{Pool, PostgresError};
use crate::words::UnixMs;
use chrono::{Days, NaiveDate, NaiveTime};

/// Makes sure that the partitions of this day and the `ahead` next ones are there. A day that fails keeps no other
/// from being made; the first failure is told.
pub async fn ensure(pool: &Pool, now: UnixMs, ahead: u64) -> Result<(), PostgresError> {
    let today = now.to_datetime().date_naive();
    let mut ensured = Ok(());
    for day in (0..=ahead).filter_map(|n| today.checked_add_days(Days::new(n))) {
        let made = sqlx::query!("SELECT ensure_history($1)", day).execute(pool).await;
        let made = made.map(drop).map_err(PostgresError::on("make a partition of the history"));
        ensured = ensured.and(made);
    }
    ensured
}

/// Drops the partitions of days that ended `keep_days` or more ago, and as old rows out of the default partitions.
/// Returns the names of those that were dropped or lost rows.
pub async fn drop_old(pool: &Pool, now: UnixMs, keep_days: u64) -> Result<Vec<String>, PostgresError> {
    let failed = || PostgresError::on("drop old history");
    let Some(oldest) = now.to_datetime().date_naive().checked_sub_days(Days::new(keep_days)) else {
        return Ok(Vec::new());
    };
    let names = sqlx::query_scalar!(
        r#"SELECT c.relname::text AS "name!" FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent IN ('readings'::regclass, 'sync_events'::regclass)"#
    )
    .fetch_all(pool)
    .await
    .map_err(failed())?;
    let mut dropped = Vec::new();
    for name in names.into_iter().filter(|name| day_of(name).is_some_and(|day| day < oldest)) {
        // A name out of the catalogue that ends in eight digits: nothing to escape.
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TABLE IF EXISTS \"{name}\"")))
            .execute(pool)
            .await
            .map_err(failed())?;
        dropped.push(name);
    }
    let bound = oldest.and_time(NaiveTime::MIN).and_utc();
    for (name, delete) in [
        ("readings_other", "DELETE FROM readings_other WHERE fetched_at < $1"),
        ("sync_events_other", "DELETE FROM sync_events_other WHERE at < $1"),
    ] {
        let deleted = sqlx::query(delete).bind(bound).execute(pool).await.map_err(failed())?;
        if deleted.rows_affected() > 0 {
            dropped.push(name.to_owned());
        }
    }
    Ok(dropped)
}

fn day_of(name: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(name.rsplit('_').next()?, "%Y%m%d").ok()
}
