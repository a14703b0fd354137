//! Scheduled discovery: the lists that are due, whoever's they are.

use super::{DiscoverRequest, discover};
use crate::app::App;
use crate::keep::KeepError;
use crate::preference::discovered;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How soon the devices of a new connection are listed.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Connections whose list is asked for in one turn: others want the lock, too.
const A_TURN: i64 = 20;
/// After a list that failed.
const AGAIN: Duration = Duration::from_secs(60 * 60);
/// How long one connection's quotas may take: others wait too, and it is tried again.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks for the lists that are due, one after the other. Returns how many there were.
pub async fn discover_due(app: &App) -> Result<usize, KeepError> {
    let every = Duration::from_millis(app.settings.discovery.every.as_ms());
    let lists = app.registry.iter().filter(|provider| provider.definition.discovery.is_some());
    let names: Vec<String> = lists.map(|provider| provider.name.to_string()).collect();
    if names.is_empty() || !app.settings.discovery.automatic {
        return Ok(0);
    }
    let _held = crate::postgres::lock(&app.pool, "paceline discovery").await?;
    let due = discovered::due(&app.pool, &names, every, AGAIN, A_TURN).await?;
    for one in &due {
        let Some(provider) = app.registry.get(&one.provider).cloned() else { continue };
        let (tenant, connection) = (one.tenant, one.connection);
        let request = DiscoverRequest {
            provider: provider.clone(),
            tenant,
            connection,
            timeout: TIMEOUT,
            dry_run: false,
        };
        match discover(app, request).await {
            Ok(changes) => tracing::info!(
                provider = %provider.name,
                connection = connection.0,
                listed = changes.listed,
                new = changes.new.len(),
                missing = changes.missing.len(),
                "devices listed"
            ),
            Err(error) => {
                tracing::warn!(provider = %provider.name, connection = connection.0, %error, "devices not listed");
            }
        }
    }
    Ok(due.len())
}

/// Lists what is due, until stopped.
pub async fn run(app: App, stop: CancellationToken) {
    let looking = async {
        loop {
            sleep(LOOK_EVERY).await;
            if let Err(error) = discover_due(&app).await {
                tracing::warn!(%error, "devices not listed; will try again");
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = looking => {}
    }
}
