//! Finds the webhooks that have something to deliver.

use super::error::WebhookError;
use crate::app::App;
use crate::cache::ChangeId;
use crate::preference::webhooks::deliveries;
use crate::words::{TenantId, UnixMs, WebhookId};
use futures::{StreamExt, stream};
use std::collections::{BTreeSet, HashMap};

/// Tenants whose streams are asked at a time.
const AT_ONCE: usize = 32;

/// A webhook that has something to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its number.
    pub id: WebhookId,
    /// Whether the last attempt failed.
    pub failing: bool,
}

/// The webhooks that have something to deliver, those whose last attempt failed at the end. None: no webhook is
/// enabled.
///
/// It also keeps the streams of all tenants with an enabled webhook, so that nothing is lost while one waits for its
/// next attempt.
pub async fn look(app: &App) -> Result<Option<Vec<Due>>, WebhookError> {
    let enabled = deliveries::enabled(&app.pool).await?;
    if enabled.is_empty() {
        return Ok(None);
    }
    let now = app.clock.now();
    let newest = newest(app, enabled.iter().map(|webhook| webhook.tenant).collect()).await;
    let is_over = |until: Option<UnixMs>| until.is_none_or(|until| until <= now);
    let due = enabled.into_iter().filter(|webhook| {
        let newest = newest.get(&webhook.tenant).map(ToString::to_string);
        let has_more = newest.is_some() && newest != webhook.cursor;
        has_more && is_over(webhook.next_try_at) && is_over(webhook.claimed_until)
    });
    let due = due.map(|it| Due { tenant: it.tenant, id: it.id, failing: it.failing });
    let mut due: Vec<_> = due.collect();
    due.sort_by_key(|due| due.failing);
    Ok(Some(due))
}

/// The newest change of each of these tenants; those whose streams cannot be read are left out.
async fn newest(app: &App, tenants: BTreeSet<TenantId>) -> HashMap<TenantId, ChangeId> {
    let read = async |tenant| (tenant, app.cache.changes(tenant, None, 0).await);
    let mut reading = stream::iter(tenants).map(read).buffer_unordered(AT_ONCE);
    let mut newest = HashMap::new();
    while let Some((tenant, changes)) = reading.next().await {
        match changes {
            Ok(changes) => drop(newest.insert(tenant, changes.newest)),
            Err(error) => tracing::debug!(%error, %tenant, "changes not read; will try again"),
        }
    }
    newest
}
