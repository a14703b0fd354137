//! What Postgres knows of its tables. Autovacuum looks at them every minute at most; until then a large account is
//! taken to be small, and statements scan it for each of its devices.

use super::{Pool, PostgresError};
use sqlx::AssertSqlSafe;

/// Has Postgres look at those of these tables that have grown a lot since it last did, or that it never looked at.
pub async fn analyze_grown(pool: &Pool, tables: &[&str]) -> Result<(), PostgresError> {
    let failed = || PostgresError::on("look at the tables");
    let tables: Vec<String> = tables.iter().map(|table| (*table).to_owned()).collect();
    // Ten pages are some hundred rows. The size is that of now, the number of pages that of the last look.
    let grown = sqlx::query_scalar!(
        r#"SELECT c.relname::text AS "name!"
           FROM UNNEST($1::text[]) AS t (name) JOIN pg_class c ON c.oid = t.name::regclass
           WHERE pg_relation_size(c.oid) / current_setting('block_size')::int > 10 + relpages * 1.5"#,
        &tables
    )
    .fetch_all(pool)
    .await
    .map_err(failed())?;
    for table in grown {
        // Another may be looking already.
        let analyze = AssertSqlSafe(format!("ANALYZE (SKIP_LOCKED) {table}"));
        sqlx::query(analyze).execute(&pool.for_long_statements()).await.map_err(failed())?;
    }
    Ok(())
}
