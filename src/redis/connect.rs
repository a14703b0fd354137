//! A handle to one Redis, and its errors.

use super::address::{self, Address};
use super::link::{Link, Subscription};
use super::server::{Unsuitable, unsuitable};
use redis::InfoDict;
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What went wrong with Redis.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// At start.
    #[error("cannot reach Redis at {at}: {source}; check redis.url and that the server runs")]
    Unreachable {
        /// The address without its password.
        at: String,
        /// The driver's error.
        source: redis::RedisError,
    },
    /// It must not hold the schedule.
    #[error("cannot use the Redis at {at}: {why}")]
    Unsuitable {
        /// The address without its password.
        at: Arc<str>,
        /// What is wrong, and what to do.
        why: Unsuitable,
    },
    /// While running.
    #[error("Redis could not {what}: {source}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// The driver's error.
        source: redis::RedisError,
    },
    /// An answer that does not fit the contract.
    #[error("Redis script {what} broke its contract: {error}")]
    Answer {
        /// Which script.
        what: &'static str,
        /// What did not fit.
        error: String,
    },
}

impl From<Found> for RedisError {
    fn from(Found { at, why }: Found) -> Self {
        Self::Unsuitable { at, why }
    }
}

/// A handle to Redis; clones share the connection.
#[derive(Clone)]
pub struct Redis {
    link: Link,
    at: Arc<str>,
    /// What the last inspection found, for all clones.
    unsuitable: watch::Sender<Option<Found>>,
}

/// An unsuitable server, and its address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    at: Arc<str>,
    why: Unsuitable,
}

impl Redis {
    /// The connection, for one command or pipeline.
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// A connection of its own that listens to channels.
    pub async fn listen(&self, channels: &[String]) -> Result<Subscription, RedisError> {
        let failed = |source| RedisError::Failed { what: "listen", source };
        Subscription::open(&self.link, channels).await.map_err(failed)
    }

    /// Asks the server whether it may hold the schedule.
    pub async fn check(&self) -> Result<(), RedisError> {
        self.find_unsuitable().await?.map_or(Ok(()), |found| Err(found.into()))
    }

    /// Likewise, in a process that runs: what it finds counts for all clones until the next inspection, and a change is
    /// logged.
    pub async fn inspect(&self) -> Result<(), RedisError> {
        let found = self.find_unsuitable().await?;
        if found.as_ref().is_some_and(|found| found.why == Unsuitable::Replica) {
            // After a failover only the connections that are open still lead here.
            self.link.leave("the server is a replica");
        }
        let changed = self.unsuitable.send_if_modified(|known| {
            let changed = *known != found;
            known.clone_from(&found);
            changed
        });
        let usable = found.map_or(Ok(()), |found| Err(found.into()));
        match &usable {
            Err(error) if changed => tracing::error!(%error, "no calls are granted until this is mended"),
            Ok(()) if changed => tracing::info!(at = %self.at, "Redis may be used again; granting calls"),
            _ => {}
        }
        usable
    }

    async fn find_unsuitable(&self) -> Result<Option<Found>, RedisError> {
        let find = |(node, info): &(String, InfoDict)| {
            let at = if node.is_empty() { self.at.clone() } else { node.as_str().into() };
            unsuitable(info).map(|why| Found { at, why })
        };
        Ok(self.infos("report about itself").await?.iter().find_map(find))
    }

    /// An error if the last inspection found that the server must not hold the schedule.
    pub fn usable(&self) -> Result<(), RedisError> {
        self.unsuitable.borrow().clone().map_or(Ok(()), |found| Err(found.into()))
    }

    /// Waits until the last inspection found nothing wrong.
    pub async fn until_usable(&self) {
        // Never closed: the sender lives in `self`.
        drop(self.unsuitable.subscribe().wait_for(Option::is_none).await);
    }

    /// Which run of the server this is: it changes with a restart, and with a failover. Of a cluster: which nodes are
    /// its primaries, and which run of each.
    pub async fn run_id(&self) -> Result<String, RedisError> {
        let infos = self.infos("report its run_id").await?;
        let run =
            |(at, info): &(String, InfoDict)| at.clone() + &info.get::<String>("run_id").unwrap_or_default();
        Ok(infos.iter().map(run).collect::<Vec<_>>().join(" "))
    }

    async fn infos(&self, what: &'static str) -> Result<Vec<(String, InfoDict)>, RedisError> {
        self.link.infos().await.map_err(|source| RedisError::Failed { what, source })
    }

    /// Takes a turn that lasts so long, whatever becomes of this process. False: another process has it.
    pub async fn take_turn(&self, key: &str, lasts: Duration) -> Result<bool, RedisError> {
        let mut set = redis::cmd("SET");
        set.arg(key).arg(std::process::id()).arg("NX").arg("PX").arg(lasts.as_millis() as u64);
        let taken: Option<String> = set
            .query_async(&mut self.link())
            .await
            .map_err(|source| RedisError::Failed { what: "take a turn", source })?;
        Ok(taken.is_some())
    }

    /// The server's clock, ms since the epoch: the one clock that all processes share.
    pub async fn time_ms(&self) -> Result<i64, RedisError> {
        let (s, us): (i64, i64) = redis::cmd("TIME")
            .query_async(&mut self.link())
            .await
            .map_err(|source| RedisError::Failed { what: "tell the time", source })?;
        Ok(s * 1000 + us / 1000)
    }
}

/// Connects; an error names the address, the reason and the setting to check.
pub async fn connect(url: &SecretString) -> Result<Redis, RedisError> {
    let url = url.expose_secret();
    let at = address::shown(url);
    let unreachable = |source| RedisError::Unreachable { at: at.clone(), source };
    let address = Address::parse(url).map_err(unreachable)?;
    let link = Link::connect(address).await.map_err(unreachable)?;
    Ok(Redis { link, at: at.as_str().into(), unsuitable: watch::Sender::new(None) })
}
