//! Which servers a command uses: those configured, and private ones for what is not.

use crate::local::{self, Durability, LocalError};
use crate::settings::Settings;
use secrecy::{ExposeSecret, SecretString};

/// Two URLs, and the private servers behind them, if any.
pub(super) struct Found {
    pub database_url: SecretString,
    pub redis_url: SecretString,
    /// Nobody else's: it may be migrated without asking, and its sealing key may lie beside it.
    pub database_is_private: bool,
    private: Option<local::Servers>,
}

/// Takes the configured servers, and starts private ones under `local.dir` if a URL is empty.
pub(super) async fn find(settings: &Settings) -> Result<Found, LocalError> {
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
    Ok(Found {
        database_url: choose(database, private.as_ref().map(|p| &p.database_url)),
        redis_url: choose(redis, private.as_ref().map(|p| &p.redis_url)),
        database_is_private: is_empty(database),
        private,
    })
}

impl Found {
    /// Gives up the private servers, which stop with their last user.
    pub async fn leave(self) -> Result<(), LocalError> {
        match self.private {
            Some(servers) => servers.stop().await,
            None => Ok(()),
        }
    }
}
