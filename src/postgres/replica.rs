//! Reads that may be a little old go to a standby of the primary, while it is close behind.
//!
//! How far behind it is, is asked when somebody reads, at most once a second: an idle process asks nothing.

use super::pool::OpenError;
use super::{Address, Pool, PostgresError, Purpose, is_outage, is_set, plain};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// A replica further behind is not read: users would miss what they did just now.
const LAG_MAX: Duration = Duration::from_secs(10);
/// How long what was found about the replica holds.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long each server may take to say where it is.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// Where lists and counts are read: at the replica while it is close behind, otherwise at the primary.
///
/// What fills the cache is read at the primary, whose newest row may be in no replica yet.
#[derive(Debug, Clone)]
pub struct Reads {
    primary: Pool,
    replica: Option<Arc<Replica>>,
}

/// What a query returned, and how old it is.
#[derive(Debug)]
pub struct Read<T> {
    /// The answer.
    pub answer: T,
    /// If it comes from a replica: it has all that was committed longer ago than this, ms.
    pub replica_lag_ms: Option<u64>,
}

#[derive(Debug)]
struct Replica {
    pool: Pool,
    address: Address,
    found: Mutex<Option<Found>>,
}

/// What the last look found: at most how far behind the replica was, or why it is not read.
#[derive(Debug)]
struct Found {
    at: Instant,
    lag: Result<Duration, String>,
}

/// Where a server is in the stream of changes.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
struct Position {
    /// The same for a primary and all that are copies of it, byte for byte.
    system: i64,
    /// Bytes of the log: written by a primary, replayed by a standby.
    log: Option<i64>,
    /// How long ago the newest commit was made that is in it; standbys only.
    newest_ms: Option<i64>,
}

impl Reads {
    /// Reads go to the standby at `url`; to the primary if that is empty.
    pub fn new(primary: Pool, url: &SecretString, connections_max: u32) -> Result<Self, PostgresError> {
        if !is_set(url) {
            return Ok(Self { primary, replica: None });
        }
        let address = Address::of(url, Purpose::Reads)?;
        let pool = Pool::closed(address.options.clone(), connections_max, Purpose::Reads);
        let replica = Replica { pool, address, found: Mutex::new(None) };
        Ok(Self { primary, replica: Some(Arc::new(replica)) })
    }

    /// Looks at the replica, if there is one. That it refuses us or cannot be used is an error; one that does not
    /// answer is waited for while the primary is read.
    pub async fn check(&self) -> Result<(), PostgresError> {
        let Some(replica) = &self.replica else { return Ok(()) };
        match replica.pool.open().await {
            Ok(()) => Ok(()),
            Err(OpenError::Unreachable(error)) if is_outage(&error) => {
                let error = replica.address.refused(OpenError::Unreachable(error));
                tracing::warn!(%error, "lists are read from the primary until the replica answers");
                Ok(())
            }
            Err(error) => Err(replica.address.refused(error)),
        }
    }

    /// The same replica, beside another share of the primary's connections.
    pub fn beside(&self, primary: Pool) -> Self {
        Self { primary, ..self.clone() }
    }

    /// Asks the replica; the primary if there is none, it is too far behind, or it fails.
    pub async fn ask<T, F>(&self, query: impl Fn(Pool) -> F) -> Result<Read<T>, PostgresError>
    where
        F: Future<Output = Result<T, PostgresError>>,
    {
        if let Some(replica) = &self.replica
            && let Some(lag) = replica.lag(&self.primary).await
        {
            match query(replica.pool.clone()).await {
                Ok(answer) => {
                    return Ok(Read { answer, replica_lag_ms: u64::try_from(lag.as_millis()).ok() });
                }
                Err(error) if error.is_outage() => tracing::debug!(%error, "asking the primary instead"),
                Err(error) => return Err(error),
            }
        }
        Ok(Read { answer: query(self.primary.clone()).await?, replica_lag_ms: None })
    }
}

impl Replica {
    /// At most how far behind it is; none if it should not be read.
    async fn lag(&self, primary: &Pool) -> Option<Duration> {
        // Those who come meanwhile wait for the same answer.
        let mut found = self.found.lock().await;
        if found.as_ref().is_none_or(|found| found.at.elapsed() >= LOOK_EVERY) {
            let now = self.look(primary).await;
            now.log_change(found.take());
            *found = Some(now);
        }
        let found = found.as_ref()?;
        found.lag.as_ref().ok().map(|lag| *lag + found.at.elapsed())
    }

    async fn look(&self, primary: &Pool) -> Found {
        let at = Instant::now();
        let (primary, replica) =
            tokio::join!(position(primary, PRIMARY_POSITION), position(&self.pool, REPLICA_POSITION));
        Found { at, lag: judge(primary, replica) }
    }
}

impl Found {
    fn log_change(&self, last: Option<Self>) {
        match (last.map(|last| last.lag), &self.lag) {
            (Some(Err(before)), Err(why)) if before == *why => {}
            (_, Err(why)) => tracing::warn!(why, "lists are read from the primary"),
            (Some(Err(_)), Ok(_)) => tracing::info!("lists are read from the replica again"),
            _ => {}
        }
    }
}

const PRIMARY_POSITION: &str = "
    SELECT (SELECT system_identifier FROM pg_control_system()) AS system,
           pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS log, NULL::bigint AS newest_ms";

const REPLICA_POSITION: &str = "
    SELECT (SELECT system_identifier FROM pg_control_system()) AS system,
           pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint AS log,
           (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint AS newest_ms";

async fn position(pool: &Pool, query: &'static str) -> Result<Position, String> {
    match timeout(LOOK_TIMEOUT, sqlx::query_as(query).fetch_one(pool)).await {
        Ok(row) => row.map_err(|error| plain(&error)),
        Err(_) => Err("no answer within 1 s".to_owned()),
    }
}

/// At most how far the replica was behind when both were asked, or why it is not read.
fn judge(primary: Result<Position, String>, replica: Result<Position, String>) -> Result<Duration, String> {
    let replica = replica.map_err(|error| format!("the replica does not tell where it is: {error}"))?;
    let newest = replica.newest_ms.map(|ms| Duration::from_millis(ms.max(0).unsigned_abs()));
    let Ok(primary) = primary else {
        // Old lists are better than none.
        return newest.ok_or_else(|| "the replica cannot tell how old its data are".to_owned());
    };
    if primary.system != replica.system {
        return Err("the server of database.read_url is no copy of that of database.url".to_owned());
    }
    if replica.log >= primary.log {
        return Ok(Duration::ZERO);
    }
    newest.filter(|lag| *lag <= LAG_MAX).ok_or_else(|| "the replica is more than 10 s behind".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: Position = Position { system: 7, log: Some(1_000), newest_ms: None };

    fn replica(log: i64, newest_ms: Option<i64>) -> Result<Position, String> {
        Ok(Position { system: 7, log: Some(log), newest_ms })
    }

    fn silent() -> Result<Position, String> {
        Err("no answer within 1 s".to_owned())
    }

    #[test]
    fn replica_with_the_whole_log_is_not_behind_however_old_its_newest_commit() {
        assert_eq!(judge(Ok(PRIMARY), replica(1_000, Some(3_600_000))), Ok(Duration::ZERO));
        assert_eq!(judge(Ok(PRIMARY), replica(1_000, None)), Ok(Duration::ZERO));
    }

    #[test]
    fn replica_without_the_whole_log_is_as_old_as_its_newest_commit() {
        assert_eq!(judge(Ok(PRIMARY), replica(999, Some(400))), Ok(Duration::from_millis(400)));
        assert_eq!(judge(Ok(PRIMARY), replica(999, Some(-3))), Ok(Duration::ZERO), "its clock is behind");
        assert!(judge(Ok(PRIMARY), replica(999, Some(10_001))).is_err());
        assert!(judge(Ok(PRIMARY), replica(999, None)).is_err());
    }

    #[test]
    fn replica_of_a_primary_that_is_away_is_read_however_old_it_is() {
        assert_eq!(judge(silent(), replica(999, Some(90_000))), Ok(Duration::from_secs(90)));
        assert!(judge(silent(), replica(999, None)).is_err());
    }

    #[test]
    fn copy_of_another_server_is_not_read() {
        let other = Position { system: 8, ..PRIMARY };
        assert!(judge(Ok(PRIMARY), Ok(other)).is_err());
        assert!(judge(Ok(PRIMARY), silent()).is_err());
    }
}
