//! Connections that Postgres no longer has: what Redis keeps of them is deleted once it counts no more.

use super::KeepError;
use crate::app::App;
use crate::preference::connections;
use crate::provider::Provider;
use crate::words::{ConnectionId, Scope};

/// Longer than any month, and than the longest hold that is believed.
const KEEP_MS: i64 = 32 * 24 * 60 * 60 * 1000;
/// Connections in one query.
const PAGE: usize = 5_000;

/// Forgets what the schedule keeps of connections that are long gone. Returns of how many.
pub(super) async fn forget(app: &App, provider: &Provider) -> Result<u64, KeepError> {
    let has_own_keys = provider.quotas().any(|quota| matches!(quota.scope, Scope::Group | Scope::Device));
    let mut holders = app.queue.holders(&provider.name, has_own_keys).await?;
    let ids: Vec<i64> = holders.lanes.keys().chain(&holders.marked).map(|connection| connection.0).collect();
    let mut back = Vec::new();
    for page in ids.chunks(PAGE) {
        for there in connections::existing(&app.pool, page).await?.into_iter().map(ConnectionId) {
            holders.lanes.remove(&there);
            back.extend(holders.marked.take(&there));
        }
    }
    if holders.lanes.is_empty() && back.is_empty() {
        return Ok(0);
    }
    let spans = provider.quotas().map(|quota| quota.span_ms() as i64);
    let keep_ms = spans.chain([KEEP_MS]).max().unwrap_or(KEEP_MS);
    let forgotten = app.queue.forget_gone(&provider.name, &holders.lanes, &back, keep_ms, None).await?;
    if forgotten > 0 {
        tracing::info!(provider = %provider.name, connections = forgotten, "forgot connections that are gone");
    }
    Ok(forgotten)
}
