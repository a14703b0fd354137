//! Scheduled discovery: lists what is due, of whichever tenant. Any number of processes may: each claims what it lists.

use super::discover::{DiscoverError, DiscoverRequest, discover_claimed};
use crate::adhoc::AdHocError;
use crate::app::App;
use crate::keep::KeepError;
use crate::preference::discovery_claim::{self, Claim};
use crate::retry::Retry;
use futures::StreamExt;
use rand::Rng;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How soon the devices of a new connection are listed.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Lists that are claimed at once …
const BATCH: i64 = 20;
/// … and those of them that are under way: a slow provider must not keep the others waiting.
const AT_ONCE: usize = 4;
/// After this a claim of a dead process is free. Longer than a batch takes; if not, the later list counts.
const LEASE: Duration = Duration::from_secs(10 * 60);
/// How long one connection's quotas may take: others wait too, and it is tried again.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Waits after attempts that no quota or hold let through.
const NOT_SENT: Retry = Retry { base: Duration::from_secs(30), cap: Duration::from_secs(60 * 60) };

/// Lists what is due. Returns how many lists were tried.
pub async fn discover_due(app: &App) -> Result<usize, KeepError> {
    let every = Duration::from_millis(app.settings.discovery.every.as_ms());
    let lists = app.registry.iter().filter(|provider| provider.definition.discovery.is_some());
    let names: Vec<String> = lists.map(|provider| provider.name.to_string()).collect();
    if names.is_empty() || !app.settings.discovery.automatic {
        return Ok(0);
    }
    let due = discovery_claim::claim_due(&app.pool, &names, every, LEASE, BATCH).await?;
    let tried = due.len();
    let each = futures::stream::iter(due);
    each.for_each_concurrent(AT_ONCE, |(claim, provider)| list(app, claim, provider)).await;
    Ok(tried)
}

async fn list(app: &App, claim: Claim, provider: String) {
    let Some(found) = app.registry.get(&provider) else { return };
    let Claim { tenant, connection, .. } = claim;
    let request =
        DiscoverRequest { provider: found.clone(), tenant, connection, timeout: TIMEOUT, dry_run: false };
    let error = match discover_claimed(app, request, Some(claim)).await {
        Ok(changes) => {
            let (listed, new, missing) = (changes.listed, changes.new.len(), changes.missing.len());
            tracing::info!(provider, connection = connection.0, listed, new, missing, "devices listed");
            return;
        }
        Err(error) => error,
    };
    tracing::warn!(provider, connection = connection.0, %error, "devices not listed; will try again");
    // One that was asked and gave no list has noted that itself; what failed at Postgres is free when its claim
    // expires.
    if let DiscoverError::NotSent(why) = &error {
        let retry = retry_after(why, claim.failures, &mut rand::rng());
        if let Err(error) = discovery_claim::put_off(&app.pool, claim, retry).await {
            tracing::debug!(connection = connection.0, %error, "list of devices not put off");
        }
    }
}

/// When a list that was not sent is tried again: longer and longer, each by itself, and not before what stopped it
/// opens.
fn retry_after(why: &AdHocError, failures: u32, rng: &mut impl Rng) -> Duration {
    let own = NOT_SENT.jittered(failures, rng);
    match why {
        AdHocError::NotYet { wait_ms: Some(ms), .. } | AdHocError::Incident { wait_ms: ms, .. } => {
            own.max(Duration::from_secs_f64(ms / 1000.0).min(NOT_SENT.cap))
        }
        _ => own,
    }
}

/// Lists what is due, until stopped.
pub async fn run(app: App, stop: CancellationToken) {
    let looking = async {
        loop {
            app.redis.until_usable().await;
            match discover_due(&app).await {
                // There may be more.
                Ok(tried) if tried as i64 == BATCH => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "devices not listed; will try again"),
            }
            sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = looking => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_list_that_was_not_sent_is_tried_later_each_time_and_not_before_its_quota_opens() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(7);
        let mut after = |wait_ms, failures| {
            let why = AdHocError::NotYet { by: String::new(), when: String::new(), wait_ms };
            retry_after(&why, failures, &mut rng).as_secs()
        };
        for (failures, at_least, at_most) in [(0, 15, 30), (1, 30, 60), (3, 120, 240), (60, 1_800, 3_600)] {
            let waits: Vec<_> = (0..100).map(|_| after(None, failures)).collect();
            assert!(waits.iter().all(|wait| (at_least..=at_most).contains(wait)), "{failures}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]), "they do not come back together");
        }
        assert_eq!(after(Some(300_000.0), 0), 300);
        assert_eq!(after(Some(1e9), 0), 3_600, "a hold may be lifted before its end");
    }
}
