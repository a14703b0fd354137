//! What a command needs: settings, logs, servers and the app; opened before it and closed after it.

use super::servers::{self, CommandServers};
use super::stop::stop_on_signal;
use super::{CliError, Global, Output, sealing_key};
use crate::app::{App, Servers, StartError};
use crate::postgres;
use crate::settings::Settings;
use crate::{telemetry, token};
use std::time::Duration;
use tokio::time::timeout;

/// How long Postgres may take to close its connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An open app, and the private servers under it, if any.
pub struct Context {
    /// The app.
    pub app: App,
    /// Where results are printed.
    pub output: Output,
    servers: CommandServers,
}

impl Context {
    /// Opens everything, and logs as the settings say: for long-running commands.
    pub async fn open(global: &Global) -> Result<Self, CliError> {
        let settings = load(global)?;
        telemetry::init(&settings.log);
        Self::open_with(settings, global).await
    }

    /// Opens everything with these settings. Logging is initialised already.
    pub async fn open_with(settings: Settings, global: &Global) -> Result<Self, CliError> {
        let servers = servers::acquire(&settings).await?;
        match start(settings, &servers).await {
            Ok(app) => Ok(Self { app, output: Output { json: global.json }, servers }),
            Err(error) => {
                release_after_error(servers).await;
                Err(error)
            }
        }
    }

    /// Lets detached tasks finish, closes the pool and releases the private servers.
    pub async fn close(self) -> Result<(), CliError> {
        self.app.detached.close();
        if timeout(self.app.shutdown_grace(), self.app.detached.wait()).await.is_err() {
            tracing::warn!("a call was cut off; its lease expires by itself");
        }
        self.release().await
    }

    /// Likewise, after detached tasks were waited for.
    pub async fn release(self) -> Result<(), CliError> {
        // A server that hangs keeps nobody from leaving: it sees the connections closed when the process ends.
        if timeout(CLOSE_TIMEOUT, self.app.pool.close()).await.is_err() {
            tracing::warn!("Postgres did not answer while its connections were closed");
        }
        Ok(self.servers.release().await?)
    }

    /// Waits for what makes a call, or for Ctrl-C: what has sent nothing yet stops then, and what was sent is settled
    /// when the context closes.
    pub async fn until_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, CliError> {
        stop_on_signal().run_until_cancelled(work).await.ok_or_else(|| CliError::refused("interrupted"))
    }

    /// Drains the outbox, so that stored changes reach the schedule at once. If that fails, the keeper does it.
    pub async fn update_schedule(&self) {
        if let Err(error) = crate::keep::drain(&self.app).await {
            tracing::warn!(%error, "outbox not drained");
            self.output.note("stored; the schedule follows when Redis can be reached again");
        }
    }
}

/// Runs a short command between opening and closing a context.
pub(super) async fn run_with_context(
    global: &Global,
    command: impl AsyncFnOnce(&Context) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let context = Context::open_with(load_for_short_command(global)?, global).await?;
    let done = command(&context).await;
    let closed = context.close().await;
    done.and(closed)
}

/// Loads the settings.
pub(super) fn load(global: &Global) -> Result<Settings, CliError> {
    Ok(Settings::load(global.config.as_deref())?)
}

/// `log.filter` in `config/default.toml`.
const DEFAULT_FILTER: &str = "info,sqlx=warn";

/// Loads the settings and initialises logging. By default only warnings are logged: a short command prints its result.
pub(super) fn load_for_short_command(global: &Global) -> Result<Settings, CliError> {
    let settings = load(global)?;
    let mut log = settings.log.clone();
    if log.filter == DEFAULT_FILTER {
        // At `warn`, sqlx logs the text of slow statements, such as a whole migration.
        log.filter = "warn,sqlx=error".to_owned();
    }
    telemetry::init(&log);
    Ok(settings)
}

async fn start(settings: Settings, acquired: &CommandServers) -> Result<App, CliError> {
    let servers = Servers {
        sealing_key: sealing_key::find(&settings, acquired.database_is_private)?,
        database_url: acquired.database_url.clone(),
        redis_url: acquired.redis_url.clone(),
    };
    let app = App::start(settings, &servers).await?;
    match acquired.database_is_private {
        true => postgres::migrate(&app.pool).await,
        false => postgres::check_migrated(&app.pool).await,
    }
    .map_err(StartError::from)?;
    token::check_canary(&app.pool, &app.sealer).await.map_err(StartError::from)?;
    Ok(app)
}

/// Releases the servers after an error. A second error is only logged, so that the command reports the first one.
pub(super) async fn release_after_error(servers: CommandServers) {
    if let Err(error) = servers.release().await {
        tracing::warn!(%error, "could not release the private servers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_filter_is_that_of_the_default_settings() {
        assert_eq!(Settings::load(None).unwrap().log.filter, DEFAULT_FILTER);
    }
}
