//! What a command works with: settings, logs, servers and the app, opened before it and closed after it.

use super::{CliError, Global, Output, sealing_key, servers};
use crate::app::{App, Servers, StartError};
use crate::postgres;
use crate::settings::Settings;
use crate::telemetry;

/// An open app, and the private servers under it, if any.
pub struct Context {
    /// What the process shares.
    pub app: App,
    /// Where answers go.
    pub output: Output,
    servers: servers::Found,
}

impl Context {
    /// Opens everything. Logs as the settings say: for commands that run on.
    pub async fn open(global: &Global) -> Result<Self, CliError> {
        let settings = load(global)?;
        telemetry::init(&settings.log);
        Self::with(settings, global).await
    }

    /// Opens everything with these settings; logging has begun.
    pub async fn with(settings: Settings, global: &Global) -> Result<Self, CliError> {
        let servers = servers::find(&settings).await?;
        match start(settings, &servers).await {
            Ok(app) => Ok(Self { app, output: Output { json: global.json }, servers }),
            Err(error) => {
                leave_quietly(servers).await;
                Err(error)
            }
        }
    }

    /// Closes the pool and gives up the private servers.
    pub async fn close(self) -> Result<(), CliError> {
        self.app.pool.close().await;
        Ok(self.servers.leave().await?)
    }

    /// Lets the schedule hear at once of what was stored. What it does not hear now stays in the outbox.
    pub async fn tell_schedule(&self) {
        if let Err(error) = crate::keep::drain(&self.app).await {
            tracing::warn!(%error, "outbox not drained");
            self.output.note("stored; the schedule will hear of it when Redis is back");
        }
    }
}

/// Runs a command that answers and ends, between open and close.
pub(super) async fn briefly(
    global: &Global,
    command: impl AsyncFnOnce(&Context) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let context = Context::with(load_brief(global)?, global).await?;
    let done = command(&context).await;
    let closed = context.close().await;
    done.and(closed)
}

/// The settings.
pub(super) fn load(global: &Global) -> Result<Settings, CliError> {
    Ok(Settings::load(global.config.as_deref())?)
}

/// What `config/default.toml` says.
const DEFAULT_FILTER: &str = "info,sqlx=warn";

/// The settings, logging begun. A short command has said all in its answer: the default filter leaves only warnings.
pub(super) fn load_brief(global: &Global) -> Result<Settings, CliError> {
    let settings = load(global)?;
    let mut log = settings.log.clone();
    if log.filter == DEFAULT_FILTER {
        // sqlx would show the text of a slow statement, such as all of a migration.
        log.filter = "warn,sqlx=error".to_owned();
    }
    telemetry::init(&log);
    Ok(settings)
}

async fn start(settings: Settings, found: &servers::Found) -> Result<App, CliError> {
    let servers = Servers {
        sealing_key: sealing_key::find(&settings, found.database_is_private)?,
        database_url: found.database_url.clone(),
        redis_url: found.redis_url.clone(),
    };
    let app = App::start(settings, &servers).await?;
    match found.database_is_private {
        true => postgres::migrate(&app.pool).await,
        false => postgres::check_migrated(&app.pool).await,
    }
    .map_err(StartError::from)?;
    Ok(app)
}

/// After an error: that one is worth telling, this one only in the log.
pub(super) async fn leave_quietly(servers: servers::Found) {
    if let Err(error) = servers.leave().await {
        tracing::warn!(%error, "could not leave the private servers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_filter_is_the_files() {
        assert_eq!(Settings::load(None).unwrap().log.filter, DEFAULT_FILTER);
    }
}
