//! Which servers may hold the data: those that take writes and know what the queries use.

use sqlx::PgConnection;

/// The oldest Postgres that the tests run on.
pub const POSTGRES_MIN: i32 = 15;

/// Why a server cannot hold the data: what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// The queries need a newer one.
    #[error(
        "it is Postgres {version}, and Paceline needs {POSTGRES_MIN} or later; upgrade it, or set database.url to a \
         newer server"
    )]
    TooOld {
        /// As `server_version` says it.
        version: String,
    },
    /// It follows another server.
    #[error("it is a standby, which takes no writes; set database.url to the primary")]
    Standby,
    /// It, the database or the role is set so.
    #[error(
        "its transactions are read only; turn default_transaction_read_only off for the server, the database and the \
         role of database.url"
    )]
    ReadOnly,
    /// Something between it and us gives each transaction another session.
    #[error(
        "a pooler such as PgBouncer keeps our session's settings from it, and notifications and advisory locks need \
         the session, too; set database.url to the server itself"
    )]
    Pooled,
}

/// The longest that Postgres lets a statement run, as `SHOW` prints it.
pub(super) const STATEMENT_TIMEOUT: &str = "1min";

/// What a server says of itself.
#[derive(sqlx::FromRow)]
struct Server {
    version: String,
    version_num: i32,
    is_standby: bool,
    is_read_only: bool,
    statement_timeout: String,
}

/// Why the server of this connection cannot hold the data; none if it can.
pub(super) async fn look(connection: &mut PgConnection) -> Result<Option<Unsuitable>, sqlx::Error> {
    let server: Server = sqlx::query_as(
        "SELECT current_setting('server_version') AS version,
                current_setting('server_version_num')::int AS version_num,
                pg_is_in_recovery() AS is_standby,
                current_setting('transaction_read_only')::bool AS is_read_only,
                current_setting('statement_timeout') AS statement_timeout",
    )
    .fetch_one(connection)
    .await?;
    Ok(unsuitable(&server))
}

/// PgBouncer refuses a session's settings, which Postgres never does.
pub(super) fn refused_by_pooler(error: &sqlx::Error) -> Option<Unsuitable> {
    let sqlx::Error::Database(error) = error else { return None };
    error.message().starts_with("unsupported startup parameter").then_some(Unsuitable::Pooled)
}

fn unsuitable(server: &Server) -> Option<Unsuitable> {
    // 150004 is 15.4.
    if server.version_num / 10_000 < POSTGRES_MIN {
        return Some(Unsuitable::TooOld { version: server.version.clone() });
    }
    // A standby is read only too.
    if server.is_standby {
        return Some(Unsuitable::Standby);
    }
    if server.is_read_only {
        return Some(Unsuitable::ReadOnly);
    }
    (server.statement_timeout != STATEMENT_TIMEOUT).then_some(Unsuitable::Pooled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version_num: i32, is_standby: bool, is_read_only: bool) -> Server {
        let statement_timeout = STATEMENT_TIMEOUT.into();
        Server { version: "of the test".into(), version_num, is_standby, is_read_only, statement_timeout }
    }

    fn judged(version_num: i32, is_standby: bool, is_read_only: bool) -> Option<Unsuitable> {
        unsuitable(&server(version_num, is_standby, is_read_only))
    }

    #[test]
    fn old_standby_and_read_only_servers_are_refused() {
        assert_eq!(judged(150_000, false, false), None);
        assert_eq!(judged(180_001, false, false), None);
        assert_eq!(judged(140_019, false, false), Some(Unsuitable::TooOld { version: "of the test".into() }));
        assert_eq!(judged(160_004, true, true), Some(Unsuitable::Standby));
        assert_eq!(judged(160_004, false, true), Some(Unsuitable::ReadOnly));
    }

    #[test]
    fn session_that_lost_its_settings_is_refused() {
        let elsewhere = Server { statement_timeout: "0".into(), ..server(160_004, false, false) };
        assert_eq!(unsuitable(&elsewhere), Some(Unsuitable::Pooled));
    }
}
