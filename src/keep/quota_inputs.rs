//! What the limits of connections depend on, from Postgres into the schedule: only at providers where they do.

use super::KeepError;
use crate::app::App;
use crate::preference::quota_inputs::{self, QuotaInputsRow};
use crate::provider::Provider;
use crate::schedule::QuotaInputsUpdate;
use crate::words::{ConnectionId, ProviderName};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

const PAGE: i64 = 2000;

/// Tells the schedule of these connections, as they are now.
pub(super) async fn tell(
    app: &App,
    provider: &ProviderName,
    connections: &HashSet<ConnectionId>,
) -> Result<(), KeepError> {
    let Some(provider) = with_quota_inputs(app, provider) else { return Ok(()) };
    let updates = read(app, provider, connections.iter().copied()).await?;
    Ok(app.queue.put_quota_inputs(&provider.name, &updates, false, None).await?)
}

/// Tells the schedule of all connections of a provider, whatever it knows of them.
pub(super) async fn tell_all(app: &App, provider: &ProviderName) -> Result<(), KeepError> {
    let Some(provider) = with_quota_inputs(app, provider) else { return Ok(()) };
    let mut after = ConnectionId(0);
    loop {
        let page = quota_inputs::page(&app.pool, &provider.name, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.connection;
        let updates: Vec<_> = page.iter().map(|known| update(provider, known)).collect();
        app.queue.put_quota_inputs(&provider.name, &updates, true, None).await?;
    }
}

/// The connections that the schedule has on other inputs than Postgres, save those with a note in the outbox, and what
/// is wrong with each.
pub(super) async fn compare(
    app: &App,
    provider: &ProviderName,
) -> Result<Vec<(ConnectionId, String)>, KeepError> {
    let Some(provider) = with_quota_inputs(app, provider) else { return Ok(Vec::new()) };
    let (mut suspects, mut after) = (Vec::new(), ConnectionId(0));
    loop {
        let page = quota_inputs::page(&app.pool, &provider.name, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.connection;
        let updates: Vec<_> = page.iter().map(|known| update(provider, known)).collect();
        suspects
            .extend(differing(app, provider, updates).await?.into_iter().map(|(connection, _)| connection));
    }
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    // An update may have been between the two during the comparison: a real difference is still there afterwards.
    sleep(Duration::from_millis(300)).await;
    let raw: Vec<i64> = suspects.iter().map(|connection| connection.0).collect();
    let updates = read(app, provider, suspects).await?;
    let pending: HashSet<i64> = quota_inputs::pending(&app.pool, &raw).await?.into_iter().collect();
    let mut wrong = differing(app, provider, updates).await?;
    wrong.retain(|(connection, _)| !pending.contains(&connection.0));
    Ok(wrong)
}

/// Makes the schedule know these as Postgres has them.
pub(super) async fn mend(
    app: &App,
    provider: &ProviderName,
    wrong: &[(ConnectionId, String)],
) -> Result<u64, KeepError> {
    let Some(provider) = with_quota_inputs(app, provider).filter(|_| !wrong.is_empty()) else { return Ok(0) };
    let updates = read(app, provider, wrong.iter().map(|(connection, _)| *connection)).await?;
    app.queue.put_quota_inputs(&provider.name, &updates, true, None).await?;
    Ok(wrong.len() as u64)
}

async fn differing(
    app: &App,
    provider: &Provider,
    updates: Vec<QuotaInputsUpdate>,
) -> Result<Vec<(ConnectionId, String)>, KeepError> {
    let ids: Vec<_> = updates.iter().map(|update| update.connection).collect();
    let kept = app.queue.quota_inputs(&provider.name, &ids).await?;
    let differ = updates.into_iter().zip(kept).filter(|(update, kept)| kept.as_ref() != Some(&update.inputs));
    let what = |(update, kept): (QuotaInputsUpdate, Option<_>)| {
        let what = match kept {
            None => {
                format!("connection {}: the schedule does not know its plan and devices", update.connection)
            }
            Some(_) => {
                format!(
                    "connection {}: the schedule has an older plan or number of devices",
                    update.connection
                )
            }
        };
        (update.connection, what)
    };
    Ok(differ.map(what).collect())
}

fn with_quota_inputs<'a>(app: &'a App, provider: &ProviderName) -> Option<&'a Arc<Provider>> {
    app.registry.get(provider.as_str()).filter(|provider| provider.has_quota_inputs())
}

async fn read(
    app: &App,
    provider: &Provider,
    connections: impl IntoIterator<Item = ConnectionId>,
) -> Result<Vec<QuotaInputsUpdate>, KeepError> {
    let ids: Vec<i64> = connections.into_iter().map(|connection| connection.0).collect();
    Ok(quota_inputs::of(&app.pool, &ids).await?.iter().map(|known| update(provider, known)).collect())
}

fn update(provider: &Provider, known: &QuotaInputsRow) -> QuotaInputsUpdate {
    QuotaInputsUpdate {
        connection: known.connection,
        inputs: provider.quota_inputs(&known.params, known.devices),
        read_at_us: known.read_at_us,
    }
}
