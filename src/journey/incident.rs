//! Separates failures of a provider from failures of its connections.

use super::{Ended, Journey, JourneyError};
use crate::incident::{self, Change, Health};
use crate::words::{ConnectionId, Outcome};
use std::collections::HashMap;

impl Journey {
    /// Notes how calls ended. Returns whether an incident lasts: then they change no state of a connection or a job.
    pub(super) async fn note_incident(&self, ended: &[Ended]) -> Result<bool, JourneyError> {
        let Some(at) = ended.iter().map(|call| call.fetched_at).max() else { return Ok(false) };
        let (incidents, name) = (&self.app.incidents, &self.provider.name);
        let change = match incidents.note(name, &by_connection(ended), at, None).await {
            Ok(change) => change,
            Err(error) => {
                tracing::debug!(provider = %name, %error, "incident not noted");
                Change::None
            }
        };
        let lasting = incidents.known(name);
        let pool = &self.app.pool;
        let window_ms = self.app.settings.incident.window.as_ms() as i64;
        match (&lasting, change) {
            (Some(incident), Change::Opened) => {
                let since = incident.since.plus_ms(-window_ms);
                self.with_retry(|| incident::open(pool, name, incident, since)).await?;
                let (outcome, failing, called) = (&incident.outcome, incident.failing, incident.called);
                tracing::warn!(provider = %name, outcome, failing, called, "the provider fails; a few calls probe it");
            }
            (_, Change::Closed) => {
                self.with_retry(|| incident::close(pool, name, window_ms)).await?;
                tracing::warn!(provider = %name, "the provider's incident is over");
            }
            _ => {}
        }
        Ok(lasting.is_some())
    }
}

/// Whether the calls of each connection succeeded: well if one did.
fn by_connection(ended: &[Ended]) -> HashMap<ConnectionId, Health> {
    let mut all = HashMap::new();
    for call in ended {
        let Some(connection) = call.connection() else { continue };
        if let Some(found) = health(call) {
            let kept = all.entry(connection).or_insert(found);
            if matches!(found, Health::Well { .. }) {
                *kept = found;
            }
        }
    }
    all
}

/// Whether a call succeeded; none if it shows nothing of the provider.
fn health(call: &Ended) -> Option<Health> {
    if call.token_refused {
        return Some(Health::Failed("unauthorized"));
    }
    call.sent_at?;
    let after_failure = call.grant.jobs.iter().any(|job| job.attempts > 0);
    health_of(call.outcomes.iter().map(|(_, outcome)| outcome), after_failure)
}

/// What the outcomes of a call that was sent show of the provider; none if nothing.
pub fn health_of<'a>(
    outcomes: impl Iterator<Item = &'a Outcome> + Clone,
    after_failure: bool,
) -> Option<Health> {
    let is_well = |outcome: &Outcome| {
        matches!(
            outcome,
            Outcome::Fresh(_) | Outcome::Unchanged | Outcome::DeviceOffline | Outcome::NoData { .. }
        )
    };
    if outcomes.clone().any(is_well) {
        return Some(Health::Well { after_failure });
    }
    let failed = outcomes.into_iter().find(|outcome| {
        matches!(
            outcome,
            Outcome::Transient { .. }
                | Outcome::Unauthorized { .. }
                | Outcome::Gone { .. }
                | Outcome::Broken { .. }
        )
    });
    failed.map(|outcome| Health::Failed(outcome.as_str()))
}
