//! Which servers may be used: for the data, those that take writes; for reads, those that follow one. All must know
//! what the queries use.

use sqlx::PgConnection;

/// The oldest Postgres that the tests run on.
pub const POSTGRES_MIN: i32 = 15;

/// What a server is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It holds the data.
    Data,
    /// Lists are read there.
    Reads,
}

impl Purpose {
    /// The setting that names the server.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Data => "database.url",
            Self::Reads => "database.read_url",
        }
    }
}

/// Why a server cannot be used: what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// The queries need a newer one.
    #[error(
        "it is Postgres {version}, and Paceline needs {POSTGRES_MIN} or later; upgrade it, or name a newer server"
    )]
    TooOld {
        /// As `server_version` says it.
        version: String,
    },
    /// It follows another server.
    #[error("it is a standby, which takes no writes; name the primary")]
    Standby,
    /// Lists are read where nothing of the primary arrives.
    #[error(
        "it follows no other server; name a standby of the server of database.url, or leave the setting out"
    )]
    FollowsNone,
    /// It, the database or the role is set so.
    #[error(
        "its transactions are read only; turn default_transaction_read_only off for the server, the database and the \
         role"
    )]
    ReadOnly,
    /// Something between it and us gives each transaction another session.
    #[error(
        "a pooler such as PgBouncer keeps our session's settings from it, and notifications and advisory locks need \
         the session, too; name the server itself"
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

/// Why the server of this connection cannot be used; none if it can.
pub(super) async fn look(
    connection: &mut PgConnection,
    purpose: Purpose,
) -> Result<Option<Unsuitable>, sqlx::Error> {
    let server: Server = sqlx::query_as(
        "SELECT current_setting('server_version') AS version,
                current_setting('server_version_num')::int AS version_num,
                pg_is_in_recovery() AS is_standby,
                current_setting('transaction_read_only')::bool AS is_read_only,
                current_setting('statement_timeout') AS statement_timeout",
    )
    .fetch_one(connection)
    .await?;
    Ok(unsuitable(&server, purpose))
}

/// PgBouncer refuses a session's settings, which Postgres never does.
pub(super) fn refused_by_pooler(error: &sqlx::Error) -> Option<Unsuitable> {
    let sqlx::Error::Database(error) = error else { return None };
    error.message().starts_with("unsupported startup parameter").then_some(Unsuitable::Pooled)
}

fn unsuitable(server: &Server, purpose: Purpose) -> Option<Unsuitable> {
    // 150004 is 15.4.
    if server.version_num / 10_000 < POSTGRES_MIN {
        return Some(Unsuitable::TooOld { version: server.version.clone() });
    }
    let refused = match purpose {
        // A standby is read only too.
        Purpose::Data if server.is_standby => Some(Unsuitable::Standby),
        Purpose::Data => server.is_read_only.then_some(Unsuitable::ReadOnly),
        Purpose::Reads => (!server.is_standby).then_some(Unsuitable::FollowsNone),
    };
    if refused.is_some() {
        return refused;
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
        unsuitable(&server(version_num, is_standby, is_read_only), Purpose::Data)
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
    fn lists_are_read_at_standbys_only() {
        let judged = |is_standby| unsuitable(&server(160_004, is_standby, true), Purpose::Reads);
        assert_eq!([judged(true), judged(false)], [None, Some(Unsuitable::FollowsNone)]);
    }

    #[test]
    fn session_that_lost_its_settings_is_refused() {
        let elsewhere = Server { statement_timeout: "0".into(), ..server(160_004, false, false) };
        assert_eq!(unsuitable(&elsewhere, Purpose::Data), Some(Unsuitable::Pooled));
    }
}
