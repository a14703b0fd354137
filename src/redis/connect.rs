//! One multiplexed connection that reconnects by itself, and what can go wrong with it.

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// What went wrong with Redis.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// At start.
    #[error("cannot reach Redis at {at}: {source}; check redis.url and that the server runs")]
    Unreachable {
        /// The address without its password.
        at: String,
        /// The driver's word.
        source: redis::RedisError,
    },
    /// While running.
    #[error("Redis could not {what}: {source}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// The driver's word.
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

/// A handle to Redis; clones share the connection.
#[derive(Clone)]
pub struct Redis {
    link: ConnectionManager,
    client: redis::Client,
}

impl Redis {
    /// The connection, for one command or pipeline.
    pub fn link(&self) -> ConnectionManager {
        self.link.clone()
    }

    /// A connection of its own that listens to channels.
    pub async fn listen(&self, channels: &[String]) -> Result<redis::aio::PubSub, RedisError> {
        let failed = |source| RedisError::Failed { what: "listen", source };
        let mut pubsub = self.client.get_async_pubsub().await.map_err(failed)?;
        pubsub.subscribe(channels).await.map_err(failed)?;
        Ok(pubsub)
    }

    /// Which run of the server this is: it changes with a restart, and with a failover.
    pub async fn run_id(&self) -> Result<String, RedisError> {
        let info: redis::InfoDict = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut self.link())
            .await
            .map_err(|source| RedisError::Failed { what: "say which run it is", source })?;
        Ok(info.get("run_id").unwrap_or_default())
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

/// Connects, or says in a sentence why not.
pub async fn connect(url: &SecretString) -> Result<Redis, RedisError> {
    let at = address(url.expose_secret());
    let unreachable = |source| RedisError::Unreachable { at: at.clone(), source };
    let client = redis::Client::open(url.expose_secret()).map_err(unreachable)?;
    // Short waits: callers have retries of their own, and a reader would rather ask Postgres than wait.
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(2)
        .set_connection_timeout(Some(Duration::from_secs(3)))
        .set_response_timeout(Some(Duration::from_secs(5)));
    let link = ConnectionManager::new_with_config(client.clone(), config).await.map_err(unreachable)?;
    Ok(Redis { link, client })
}

/// The part of a URL that may be shown.
fn address(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once('@').map_or(rest, |(_, host)| host).to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_shown_address_has_no_password() {
        assert_eq!(super::address("redis://user:p@ss@h:1/0"), "h:1/0");
        assert_eq!(super::address("redis://h:1"), "h:1");
    }
}
