//! The Postgres and Redis that a command uses: those configured, or else private ones.

use crate::local::{self, Durability, LocalError};
use crate::settings::Settings;
use secrecy::{ExposeSecret, SecretString};

/// The URLs to connect to, and the private servers behind them, if any.
pub(super) struct CommandServers {
    pub database_url: SecretString,
    pub redis_url: SecretString,
    /// Only Paceline uses it, so it is migrated without asking, and its sealing key may be stored beside it.
    pub database_is_private: bool,
    private: Option<local::Servers>,
}

/// Returns the configured servers. Starts private ones under `local.dir` if a URL is empty.
pub(super) async fn acquire(settings: &Settings) -> Result<CommandServers, LocalError> {
    let (database, redis) = (&settings.database.url, &settings.redis.url);
    let is_empty = |url: &SecretString| url.expose_secret().is_empty();
    let private = match is_empty(database) || is_empty(redis) {
        true => Some(local::start(&settings.local.dir, Durability::Durable).await?),
        false => None,
    };
    let choose = |configured: &SecretString, own: Option<&SecretString>| match (is_empty(configured), own) {
        (true, Some(own)) => own.clone(),
        _ => configured.clone(),
    };
    Ok(CommandServers {
        database_url: choose(database, private.as_ref().map(|p| &p.database_url)),
        redis_url: choose(redis, private.as_ref().map(|p| &p.redis_url)),
        database_is_private: is_empty(database),
        private,
    })
}

impl CommandServers {
    /// Releases the private servers. They stop when no process uses them any more.
    pub async fn release(self) -> Result<(), LocalError> {
        match self.private {
            Some(servers) => servers.stop().await,
            None => Ok(()),
        }
    }
}
