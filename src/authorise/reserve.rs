//! A reservation for a token request, where a quota counts such: asked, and settled with how the request ended, as for
//! any call outside of the schedule.

use crate::app::App;
use crate::provider::{Provider, TOKEN};
use crate::take::{ReserveOutcome, ReserveRequest, Settlement, Taker};
use crate::words::{CallId, ConnectionId, End, UnixMs, lane};
use std::time::Duration;
use tokio::time::Instant;

/// After this, whoever could not be asked is asked again, ms.
const AGAIN_MS: i64 = 1_000;

/// A request that may be sent now.
pub(super) struct ReservedRequest(Option<(Taker, CallId)>);

/// One that may not.
#[derive(Debug)]
pub(super) struct NotYet {
    /// Not before this.
    pub(super) until: UnixMs,
    /// Why, as a sentence.
    pub(super) reason: String,
}

/// Waits for leave, for so long at most. Where no quota counts requests for tokens, there is nothing to wait for.
pub(super) async fn ask(
    app: &App,
    provider: &Provider,
    connection: ConnectionId,
    patience: Duration,
) -> Result<ReservedRequest, NotYet> {
    if !provider.quotas().any(|quota| quota.counts(&TOKEN)) {
        return Ok(ReservedRequest(None));
    }
    let taker = Taker::new(app.redis.clone(), provider, &app.taker_settings());
    taker.observe_time(app.clock.now());
    let (lane, resource) = (lane(connection, ""), TOKEN.clone());
    let request = ReserveRequest { lane, resource, cost: 1, devices: Vec::new() };
    let waited = taker.reserve_within(&request, patience, app.tolerance(provider)).await;
    let now = app.clock.now();
    match waited {
        Ok(ReserveOutcome::Go { call, latest }) if Instant::now() <= latest => {
            Ok(ReservedRequest(Some((taker, call))))
        }
        Ok(ReserveOutcome::Go { call, .. }) => {
            ReservedRequest(Some((taker, call))).end(End::Unsent).await;
            Err(NotYet {
                until: now.plus_ms(AGAIN_MS),
                reason: "the instant that was granted has passed on this busy machine".to_owned(),
            })
        }
        Ok(ReserveOutcome::NotYet { by, wait_ms, .. }) => {
            let wait_ms = wait_ms.map_or(AGAIN_MS, |ms| ms.ceil() as i64);
            // A hold's reason says it by itself.
            let reason = by.strip_prefix("hold: ").map_or_else(
                || format!("quota {by} lets no request for its token through yet"),
                str::to_owned,
            );
            Err(NotYet { until: now.plus_ms(wait_ms), reason })
        }
        Err(error) => {
            tracing::warn!(provider = %provider.name, %error, "no leave for a token; will try again");
            let reason = "Redis is away, by which requests for tokens are granted".to_owned();
            Err(NotYet { until: now.plus_ms(AGAIN_MS), reason })
        }
    }
}

impl ReservedRequest {
    /// Tells how the request ended. If that cannot be told, its lease runs out by itself.
    pub(super) async fn end(self, end: End) {
        let Some((taker, call)) = self.0 else { return };
        if let Err(error) = taker.settle(&[Settlement { end, ..Settlement::unsent(call) }], None).await {
            tracing::warn!(%error, "the schedule was not told how a request for a token ended");
        }
    }
}
