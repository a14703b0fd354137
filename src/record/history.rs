//! The history's partitions: made ahead, dropped when their days are over.

use crate::postgres::{Pool, PostgresError};
use crate::words::UnixMs;
use chrono::{Days, NaiveDate};

/// Makes sure that the partitions of this day and the `ahead` next ones are there.
pub async fn ensure(pool: &Pool, now: UnixMs, ahead: u64) -> Result<(), PostgresError> {
    let today = now.to_datetime().date_naive();
    for day in (0..=ahead).filter_map(|n| today.checked_add_days(Days::new(n))) {
        sqlx::query!("SELECT ensure_history($1)", day)
            .execute(pool)
            .await
            .map_err(PostgresError::on("make a partition of the history"))?;
    }
    Ok(())
}

/// Drops the partitions of days that ended `keep_days` or more ago. Returns their names.
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
    Ok(dropped)
}

fn day_of(name: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(name.rsplit('_').next()?, "%Y%m%d").ok()
}
