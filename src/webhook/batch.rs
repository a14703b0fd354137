//! What is sent next to a webhook, and its body.

use super::error::WebhookError;
use crate::app::App;
use crate::cache::{Change, ChangeId, Changed};
use crate::live::{self, Event, Filter};
use crate::preference::connection_name;
use crate::preference::webhooks::WebhookFilter;
use crate::preference::webhooks::deliveries::{Claimed, Pending};
use crate::words::{ConnectionId, DeviceId, TenantId, UnixMs};
use std::collections::HashSet;
use std::sync::Arc;

/// A batch never spans more changes of the stream, most of which a filter may leave out.
const SPAN_MAX: usize = 1_000;

/// Changes to be delivered together.
#[derive(Debug)]
pub(super) struct Batch {
    /// Its last change.
    pub(super) until: ChangeId,
    /// Changes before it are not kept any more: the receiver is to read its devices anew.
    pub(super) resync: bool,
    /// Its events.
    pub(super) events: Vec<Arc<Event>>,
    /// Whether there are changes after it.
    pub(super) more: bool,
}

/// How far a webhook is: after which change it goes on, and the batch that is begun.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    pub(super) cursor: Option<ChangeId>,
    pub(super) pending: Option<(ChangeId, bool)>,
}

impl Progress {
    pub(super) fn of(claimed: &Claimed) -> Self {
        let id = |text: &str| text.parse().ok();
        let pending = |pending: &Pending| Some((id(&pending.until)?, pending.resync));
        Self {
            cursor: claimed.cursor.as_deref().and_then(id),
            pending: claimed.pending.as_ref().and_then(pending),
        }
    }
}

/// The next batch; none if there is nothing new.
pub(super) async fn compose(
    app: &App,
    tenant: TenantId,
    filter: &Filter,
    progress: &Progress,
) -> Result<Option<Batch>, WebhookError> {
    let Some(cursor) = progress.cursor else {
        // It was added while Redis was away: it begins now.
        let until = app.cache.changes(tenant, None, 0).await?.newest;
        return Ok(Some(Batch { until, resync: false, events: Vec::new(), more: false }));
    };
    let changes = app.cache.first_changes(tenant, cursor, SPAN_MAX).await?;
    let Some(found) = changes.after else {
        let begun = progress.pending.filter(|(_, resync)| *resync);
        let until = begun.map_or(changes.newest, |(until, _)| until);
        return Ok(Some(Batch { until, resync: true, events: Vec::new(), more: until < changes.newest }));
    };
    if found.is_empty() {
        return Ok(None);
    }
    let size = match progress.pending {
        Some((until, _)) => found.iter().take_while(|change| change.id <= until).count(),
        None => prefix(&found, filter, app.settings.webhooks.batch as usize),
    };
    let part = &found[..size];
    let Some(until) = part.last().map(|change| change.id) else { return Ok(None) };
    let named = part.iter().filter(|change| filter.names(change.device)).cloned().collect();
    let events = live::events(app, tenant, named).await?;
    let events = events.into_iter().filter(|event| filter.wants(event)).collect();
    Ok(Some(Batch { until, resync: false, events, more: until < changes.newest }))
}

/// How many of these changes make a batch of at most `max` events: a part of a device that changed repeatedly is one.
fn prefix(changes: &[Change], filter: &Filter, max: usize) -> usize {
    let mut parts = HashSet::<(DeviceId, &Changed)>::new();
    for (n, change) in changes.iter().enumerate() {
        if filter.names(change.device) && parts.insert((change.device, &change.changed)) && parts.len() > max
        {
            return n;
        }
    }
    changes.len()
}

/// The filter as the event stream knows it. A connection that was removed matches nothing.
pub(super) async fn stream_filter(
    app: &App,
    tenant: TenantId,
    stored: &WebhookFilter,
) -> Result<Filter, WebhookError> {
    let devices = |ids: &Vec<i64>| ids.iter().map(|id| DeviceId(*id)).collect();
    let mut filter = Filter {
        ids: stored.devices.as_ref().map(devices),
        provider: stored.provider.clone(),
        group: stored.group.clone(),
        ..Filter::default()
    };
    if let Some(connection) = stored.connection {
        match connection_name(&app.pool, tenant, ConnectionId(connection)).await? {
            // A label is unique at one provider.
            Some((provider, label)) if filter.provider.as_ref().is_none_or(|asked| *asked == provider) => {
                (filter.provider, filter.connection) = (Some(provider), Some(label));
            }
            _ => filter.ids = Some(HashSet::new()),
        }
    }
    Ok(filter)
}

/// The body of a batch.
pub(super) fn body(batch: &Batch) -> String {
    let event = |event: &Arc<Event>| {
        // Ids and names of events hold nothing that JSON escapes, and the rest is JSON.
        format!("{{\"id\":\"{}\",\"type\":\"{}\",\"data\":{}}}", event.id, event.payload.name(), event.json)
    };
    let events: Vec<_> = batch.events.iter().map(event).collect();
    let resync = if batch.resync { ",\"resync\":true" } else { "" };
    format!(
        "{{\"type\":\"changes\",\"timestamp\":\"{}\",\"data\":{{\"events\":[{}]{resync}}}}}",
        batch.until.at(),
        events.join(",")
    )
}

/// The body of a test.
pub(super) fn test_body(now: UnixMs) -> String {
    format!("{{\"type\":\"test\",\"timestamp\":\"{now}\",\"data\":{{}}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(n: u64, device: i64) -> Change {
        Change {
            id: format!("{n}-0").parse().unwrap(),
            device: DeviceId(device),
            changed: Changed::Reading("state".to_owned()),
        }
    }

    #[test]
    fn batch_counts_each_part_of_a_device_once_and_not_what_is_left_out() {
        let changes: Vec<_> = [1, 1, 2, 1, 9, 3, 2].iter().zip(1..).map(|(d, n)| change(n, *d)).collect();
        let filter = Filter { ids: Some([1, 2, 3].map(DeviceId).into()), ..Filter::default() };
        for (max, size) in [(1, 2), (2, 5), (3, 7), (100, 7)] {
            assert_eq!(prefix(&changes, &filter, max), size, "{max}");
        }
    }

    #[test]
    fn body_of_a_resync_is_json() {
        let until = "1760000000000-3".parse().unwrap();
        let text = body(&Batch { until, resync: true, events: Vec::new(), more: false });
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "type": "changes", "timestamp": "2025-10-09T08:53:20.000Z", "data": {"events": [], "resync": true},
        });
        assert_eq!(read, expected);
    }
}
