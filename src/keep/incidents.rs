//! Ends incidents that Redis has forgotten.

use super::KeepError;
use crate::app::App;
use crate::incident;

/// Ends the incidents that only Postgres has: Redis lost its content, or the process that was to end them died.
pub async fn end_forgotten(app: &App) -> Result<(), KeepError> {
    let window_ms = app.settings.incident.window.as_ms() as i64;
    for provider in incident::lasting(&app.pool).await? {
        let Ok(provider) = provider.parse() else { continue };
        if app.incidents.read(&provider).await?.is_none() {
            incident::close(&app.pool, &provider, window_ms).await?;
            tracing::warn!(%provider, "the provider's incident is over: Redis does not have it");
        }
    }
    Ok(())
}
