//! The production loops: pull until stopped, land until every call is settled.

use super::{Journey, JourneyError, Step};
use crate::app::App;
use crate::redis::RedisError;
use crate::retry::RECONNECT;
use std::collections::HashMap;
use std::future::ready;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Pull at least this often: a wake-up may be lost with a connection or a process.
const PULL_EVERY: Duration = Duration::from_secs(30);
/// How long it may take to settle the calls that were cut off when the grace was over.
const CUT_OFF_WITHIN: Duration = Duration::from_millis(700);

/// Runs a journey until it is stopped, then waits for calls that were sent, at most for the shutdown grace. Those that
/// are in flight then end as lost. May be called again after a panic.
pub async fn run(journey: Arc<Journey>) {
    let all_ended = CancellationToken::new();
    let mut landing = AbortOnDropHandle::new(tokio::spawn(land_all(journey.clone(), all_ended.clone())));
    let stop = journey.stop.clone();
    // From the stop on, whatever the pull under way waits for.
    let mut grace_over = pin!(async {
        stop.cancelled().await;
        sleep(journey.app.shutdown_grace()).await;
    });
    let (mut failures, mut is_over) = (0, false);
    while !stop.is_cancelled() {
        tokio::select! {
            () = step(&journey, &mut failures) => {}
            ended = &mut landing => return pass_on_panic(ended),
            () = &mut grace_over => is_over = true,
        }
    }
    journey.calls.close();
    let landed = async {
        journey.calls.wait().await;
        all_ended.cancel();
        (&mut landing).await
    };
    let mut landed = pin!(landed);
    let provider = &journey.provider.name;
    tokio::select! {
        ended = &mut landed => return pass_on_panic(ended),
        () = &mut grace_over, if !is_over => {}
        () = ready(()), if is_over => {}
    }
    let calls = journey.calls.len();
    journey.cut.cancel();
    let ended = timeout(CUT_OFF_WITHIN, landed).await;
    if calls > 0 {
        let again = if ended.is_ok() { "at once" } else { "after their leases" };
        tracing::warn!(%provider, calls, "calls cut off at shutdown; they are made again {again}");
    }
    if let Ok(ended) = ended {
        pass_on_panic(ended);
    }
}

/// Without the task that lands, no call would ever free its slot: its panic is the journey's.
fn pass_on_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
    }
}

/// Pulls once, and sleeps until the next pull. A stop cuts only the sleep short: granted calls are finished or handed
/// back.
async fn step(journey: &Journey, failures: &mut u32) {
    if journey.stop.run_until_cancelled(journey.app.redis.until_usable()).await.is_none() {
        return;
    }
    // Clear before polling, so that a wake-up that arrives during the poll is not lost.
    journey.wake.clear();
    let pulled = journey.pull().await;
    let delay = match &pulled {
        Ok(Step::Ran(_, wake) | Step::Idle(wake)) => {
            *failures = 0;
            wake.unwrap_or(PULL_EVERY).min(PULL_EVERY)
        }
        Err(error) => {
            report(journey, error);
            *failures += 1;
            RECONNECT.wait(*failures, &mut rand::rng())
        }
    };
    if delay > Duration::from_secs(1) {
        journey.gate.drop_idle();
    }
    let until = Instant::now() + delay;
    tokio::select! {
        () = journey.stop.cancelled() => {}
        () = journey.wake.sleep(until), if pulled.is_ok() => {}
        // A server is away: wake-ups do not bring it back sooner.
        () = sleep_until(until), if pulled.is_err() => {}
    }
}

/// Lands until all calls have ended and are settled.
async fn land_all(journey: Arc<Journey>, all_ended: CancellationToken) {
    loop {
        let ended = tokio::select! {
            biased;
            ended = journey.next_ended() => ended,
            () = all_ended.cancelled() => return,
        };
        if let Err(error) = journey.finish(&ended).await {
            // Not settled: the leases expire and the calls are made again.
            report(&journey, &error);
        }
    }
}

/// Wakes journeys when other processes publish a change. One connection for all; reconnects forever.
pub async fn listen(app: App, journeys: Vec<Arc<Journey>>) {
    let by_channel: HashMap<String, &Arc<Journey>> =
        journeys.iter().map(|journey| (app.keys.wake(&journey.provider.name), journey)).collect();
    let channels: Vec<String> = by_channel.keys().cloned().collect();
    let mut failures = 0;
    loop {
        if let Ok(mut subscription) = app.redis.listen(&channels).await {
            failures = 0;
            // A message may have been missed while disconnected.
            journeys.iter().for_each(|journey| journey.wake.at(Instant::now()));
            while let Some(message) = subscription.next().await {
                if let Some(journey) = by_channel.get(message.get_channel_name()) {
                    journey.wake.at(Instant::now());
                }
            }
        }
        let delay = RECONNECT.wait(failures, &mut rand::rng());
        sleep(delay).await;
        failures += 1;
    }
}

fn report(journey: &Journey, error: &JourneyError) {
    // An unsuitable Redis was logged by the inspection that found it.
    if matches!(error, JourneyError::Redis(RedisError::Unsuitable { .. })) {
        return;
    }
    tracing::warn!(provider = %journey.provider.name, %error, "sync interrupted; will retry");
}
