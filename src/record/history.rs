//! The history's daily partitions: created ahead, dropped when `history.keep_days` is over; and the months of roll-ups.
//!
//! Each statement that needs an exclusive lock gives up after [`postgres::LOCK_WAIT`]: while it waits, no reading can
//! be written. Its caller tries again.

use crate::postgres::{self, Pool, PostgresError};
use crate::words::UnixMs;
use crate::words::series::Level;
use chrono::{Days, Months, NaiveDate, NaiveTime};

/// Creates the partitions of this day and of the `ahead` next ones. A day that fails does not keep the others from
/// being created; the first failure is returned.
pub async fn ensure(pool: &Pool, now: UnixMs, ahead: u64) -> Result<(), PostgresError> {
    let today = now.to_datetime().date_naive();
    let mut ensured = Ok(());
    for day in (0..=ahead).filter_map(|n| today.checked_add_days(Days::new(n))) {
        ensured = ensured.and(ensure_day(pool, day).await);
    }
    ensured
}

async fn ensure_day(pool: &Pool, day: NaiveDate) -> Result<(), PostgresError> {
    let failed = || PostgresError::on_ddl("create the history's partitions of", &day.to_string());
    let mut ddl = postgres::begin_ddl(pool).await?;
    sqlx::query!("SELECT ensure_history($1)", day).execute(&mut ddl).await.map_err(failed())?;
    ddl.commit().await.map_err(failed())
}

/// What [`drop_old`] did.
#[derive(Debug)]
pub struct Dropped {
    /// Partitions that were dropped, and default partitions that lost rows.
    pub names: Vec<String>,
    /// The first failure, which did not keep the others from being dropped.
    pub result: Result<(), PostgresError>,
}

/// Drops the partitions of days that ended `keep_days` or more ago, and rows as old out of the default partitions.
pub async fn drop_old(pool: &Pool, now: UnixMs, keep_days: u64) -> Dropped {
    let pool = &pool.for_long_statements();
    let mut dropped = Dropped { names: Vec::new(), result: Ok(()) };
    let Some(oldest) = now.to_datetime().date_naive().checked_sub_days(Days::new(keep_days)) else {
        return dropped;
    };
    match old_partitions(pool, oldest).await {
        Ok(names) => {
            for name in names {
                let result = drop_partition(pool, &name).await;
                dropped.note(name, result.map(|()| true));
            }
        }
        Err(error) => dropped.result = Err(error),
    }
    for (name, delete) in [
        ("readings_other", "DELETE FROM readings_other WHERE fetched_at < $1"),
        ("sync_events_other", "DELETE FROM sync_events_other WHERE at < $1"),
    ] {
        let bound = oldest.and_time(NaiveTime::MIN).and_utc();
        let deleted = sqlx::query(delete).bind(bound).execute(pool).await;
        let deleted = deleted.map_err(PostgresError::on("delete old history"));
        dropped.note(name.to_owned(), deleted.map(|done| done.rows_affected() > 0));
    }
    dropped
}

impl Dropped {
    fn note(&mut self, name: String, changed: Result<bool, PostgresError>) {
        match changed {
            Ok(true) => self.names.push(name),
            Ok(false) => {}
            Err(error) if self.result.is_ok() => self.result = Err(error),
            Err(_) => {}
        }
    }
}

/// The beginning of the oldest day that has a partition of readings.
pub async fn oldest_day(pool: &Pool) -> Result<Option<UnixMs>, PostgresError> {
    let names = partitions(pool).await?;
    let readings = names.iter().filter(|name| name.starts_with("readings_"));
    let oldest = readings.filter_map(|name| day_of(name)).min();
    Ok(oldest.map(|day| day.and_time(NaiveTime::MIN).and_utc().into()))
}

/// Drops the months of roll-ups whose last day ended `keep_days` or more ago.
pub async fn drop_old_rollups(pool: &Pool, now: UnixMs, keep_days: &[(Level, u64)]) -> Dropped {
    let pool = &pool.for_long_statements();
    let mut dropped = Dropped { names: Vec::new(), result: Ok(()) };
    let names = match rollup_partitions(pool).await {
        Ok(names) => names,
        Err(error) => return Dropped { result: Err(error), ..dropped },
    };
    for (level, days) in keep_days {
        let oldest = now.to_datetime().date_naive().checked_sub_days(Days::new(*days));
        let is_old = |name: &&String| match (month_of(name, *level), oldest) {
            (Some(month), Some(oldest)) => {
                month.checked_add_months(Months::new(1)).is_some_and(|end| end <= oldest)
            }
            _ => false,
        };
        for name in names.iter().filter(is_old) {
            let result = drop_partition(pool, name).await;
            dropped.note(name.clone(), result.map(|()| true));
        }
    }
    dropped
}

async fn rollup_partitions(pool: &Pool) -> Result<Vec<String>, PostgresError> {
    sqlx::query_scalar!(
        r#"SELECT c.relname::text AS "name!" FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent IN ('rollups_5m'::regclass, 'rollups_1h'::regclass, 'rollups_1d'::regclass)"#
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("list the roll-ups' partitions"))
}

/// The first day of a partition's month, if it is of this level.
fn month_of(name: &str, level: Level) -> Option<NaiveDate> {
    let table = match level {
        Level::FiveMinutes => "rollups_5m_",
        Level::Hour => "rollups_1h_",
        Level::Day => "rollups_1d_",
    };
    NaiveDate::parse_from_str(&format!("{}01", name.strip_prefix(table)?), "%Y%m%d").ok()
}

async fn old_partitions(pool: &Pool, oldest: NaiveDate) -> Result<Vec<String>, PostgresError> {
    let names = partitions(pool).await?.into_iter();
    Ok(names.filter(|name| day_of(name).is_some_and(|day| day < oldest)).collect())
}

async fn partitions(pool: &Pool) -> Result<Vec<String>, PostgresError> {
    sqlx::query_scalar!(
        r#"SELECT c.relname::text AS "name!" FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent IN ('readings'::regclass, 'sync_events'::regclass)"#
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("list the history's partitions"))
}

async fn drop_partition(pool: &Pool, name: &str) -> Result<(), PostgresError> {
    let failed = || PostgresError::on_ddl("drop", name);
    let mut ddl = postgres::begin_ddl(pool).await?;
    // A name out of the catalogue that ends in digits: nothing to escape.
    let drop = sqlx::AssertSqlSafe(format!("DROP TABLE IF EXISTS \"{name}\""));
    sqlx::query(drop).execute(&mut ddl).await.map_err(failed())?;
    ddl.commit().await.map_err(failed())
}

fn day_of(name: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(name.rsplit('_').next()?, "%Y%m%d").ok()
}
