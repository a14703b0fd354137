//! The reservation of a token request, where a quota counts token requests: made before the request and settled after
//! it, as for any ad-hoc call.

use crate::app::{App, ProviderClient};
use crate::provider::TOKEN;
use crate::take::{ReserveOutcome, ReserveRequest, Settlement};
use crate::words::{CallId, ConnectionId, End, UnixMs, lane};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Without a known wait, the next attempt is this far away.
const RETRY_MS: i64 = 1_000;

/// A request that may be sent now.
pub(super) struct ReservedRequest(Option<(Arc<ProviderClient>, CallId)>);

/// The request may not be sent yet.
#[derive(Debug)]
pub(super) struct NotYet {
    /// Not before this.
    pub(super) until: UnixMs,
    /// Why, as a sentence.
    pub(super) reason: String,
}

/// Reserves the request, waiting for at most `timeout`. Where no quota counts token requests, there is nothing to
/// reserve.
pub(super) async fn reserve(
    app: &App,
    client: &Arc<ProviderClient>,
    connection: ConnectionId,
    timeout: Duration,
) -> Result<ReservedRequest, NotYet> {
    let provider = &client.provider;
    if !provider.quotas().any(|quota| quota.counts(&TOKEN)) {
        return Ok(ReservedRequest(None));
    }
    let (lane, resource) = (lane(connection, ""), TOKEN.clone());
    let request = ReserveRequest { lane, resource, cost: 1, devices: Vec::new(), keep_ms: 0, probes: false };
    // Its callers are detached tasks: they wait even if whoever needs the token goes away.
    let never = CancellationToken::new();
    let waited = client.taker.reserve_within(&request, timeout, &never).await;
    let now = app.clock.now();
    match waited {
        Ok(ReserveOutcome::Go { call, latest }) if Instant::now() <= latest => {
            Ok(ReservedRequest(Some((client.clone(), call))))
        }
        Ok(ReserveOutcome::Go { call, .. }) => {
            ReservedRequest(Some((client.clone(), call))).end(End::Unsent).await;
            Err(NotYet {
                until: now.plus_ms(RETRY_MS),
                reason: "this machine was too busy to send at the granted instant".to_owned(),
            })
        }
        Ok(ReserveOutcome::NotYet { by, wait_ms, .. }) => {
            let wait_ms = wait_ms.map_or(RETRY_MS, |ms| ms.ceil() as i64);
            // A hold's reason says it by itself.
            let reason = by.strip_prefix("hold: ").map_or_else(
                || format!("quota {by} lets no request for its token through yet"),
                str::to_owned,
            );
            Err(NotYet { until: now.plus_ms(wait_ms), reason })
        }
        Ok(ReserveOutcome::Abandoned | ReserveOutcome::Incident { .. }) => {
            Err(NotYet { until: now, reason: "nobody waits for the token any more".to_owned() })
        }
        Err(error) => {
            tracing::warn!(provider = %provider.name, %error, "token request not reserved; will try again");
            let reason = "Redis, which grants token requests, cannot be reached".to_owned();
            Err(NotYet { until: now.plus_ms(RETRY_MS), reason })
        }
    }
}

impl ReservedRequest {
    /// Settles the request. If that fails, its lease expires by itself.
    pub(super) async fn end(self, end: End) {
        let Some((client, call)) = self.0 else { return };
        if let Err(error) = client.taker.settle(&[Settlement { end, ..Settlement::unsent(call) }], None).await
        {
            tracing::warn!(%error, "token request not settled; its lease expires by itself");
        }
    }
}
