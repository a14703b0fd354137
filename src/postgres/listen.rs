//! Notifications, until the connection is lost or silent.

use super::in_time::{ACQUIRE_TIMEOUT, in_time};
use super::trust::Trust;
use super::{Pool, PostgresError};
use sqlx::Executor;
use sqlx::postgres::{PgListener, PgPoolOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// How often a listener that receives nothing asks whether the server is still there.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Receives the notifications of a channel on a connection of its own.
#[derive(Debug)]
pub struct Listener {
    inner: PgListener,
    opened: Instant,
    /// Of the pool: a server that became read only notifies of nothing, and answers pings.
    trust: Arc<Trust>,
    ping: Interval,
}

impl Listener {
    /// Connects and listens.
    pub async fn open(pool: &Pool, channel: &str) -> Result<Self, PostgresError> {
        // A pool of its own: a listener keeps its connection, and would take it from everybody else in `pool`.
        let own = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
        let own = own.acquire_timeout(ACQUIRE_TIMEOUT).connect_lazy_with(pool.connect_options());
        let opened = Instant::now();
        let listening = async {
            let mut inner = PgListener::connect_with(&own).await?;
            // Notifications between two connections are lost, so the caller must learn of every reconnect.
            inner.eager_reconnect(false);
            inner.listen(channel).await?;
            Ok(inner)
        };
        let inner = in_time(2 * ACQUIRE_TIMEOUT, listening).await.map_err(PostgresError::on("listen"))?;
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { inner, opened, trust: pool.trust(), ping })
    }

    /// Waits for a notification. An error ends the listener: the connection is lost, a ping was not answered, or the
    /// pool has given up connections as old.
    pub async fn next(&mut self) -> Result<(), PostgresError> {
        loop {
            tokio::select! {
                received = self.inner.try_recv() => {
                    let received = received.and_then(|received| received.ok_or_else(lost));
                    return received.map(drop).map_err(PostgresError::on("notify"));
                }
                _ = self.ping.tick() => {
                    if !self.trust.reaches_back_to(self.opened) {
                        return Err(PostgresError::on("notify")(lost()));
                    }
                    let pong = in_time(ACQUIRE_TIMEOUT, (&mut self.inner).execute("SELECT 1"));
                    pong.await.map_err(PostgresError::on("answer a listener"))?;
                }
            }
        }
    }
}

fn lost() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into())
}
