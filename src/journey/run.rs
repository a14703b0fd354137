//! The loops of production: pull until stopped, land until all has landed.

use super::{Journey, JourneyError, Step};
use crate::app::App;
use crate::retry::RECONNECT;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// However quiet it is, look once in a while: a wake-up may have been lost with a connection.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// Runs a journey until it is stopped; then what was sent lands, for at most the shutdown's grace.
pub async fn run(journey: Arc<Journey>) {
    let woken = Arc::new(Notify::new());
    let listening = tokio::spawn(listen(journey.app.clone(), journey.clone(), woken.clone()));
    let all_ended = CancellationToken::new();
    let mut landing = tokio::spawn(land_all(journey.clone(), all_ended.clone()));
    let stop = journey.stop.clone();
    let mut failures = 0;
    while !stop.is_cancelled() {
        let nap = match journey.pull().await {
            Ok(Step::Ran(_, wake) | Step::Idle(wake)) => {
                failures = 0;
                wake.unwrap_or(LONGEST_NAP).min(LONGEST_NAP)
            }
            Err(error) => {
                report(&journey, &error);
                failures += 1;
                RECONNECT.wait(failures, &mut rand::rng())
            }
        };
        let until = Instant::now() + nap;
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep_until(until) => {}
            () = woken.notified(), if failures == 0 => {}
        }
        if nap > Duration::from_secs(1) {
            journey.gate.tidy();
        }
    }
    listening.abort();
    journey.calls.close();
    let grace = Duration::from_millis(journey.app.settings.shutdown.grace.as_ms());
    let landed = async {
        journey.calls.wait().await;
        all_ended.cancel();
        (&mut landing).await
    };
    if timeout(grace, landed).await.is_err() {
        tracing::warn!(provider = %journey.provider.name, "calls cut off at shutdown; others will make them again");
    }
    landing.abort();
}

/// Lands until all calls have ended and nothing is left of them.
async fn land_all(journey: Arc<Journey>, all_ended: CancellationToken) {
    loop {
        let ended = tokio::select! {
            biased;
            ended = journey.next_ended() => ended,
            () = all_ended.cancelled() => return,
        };
        if let Err(error) = journey.finish(&ended).await {
            // Not settled: the leases run out and the calls are made again.
            report(&journey, &error);
        }
    }
}

/// Passes on "look again" from other processes; reconnects for as long as it lives.
async fn listen(app: App, journey: Arc<Journey>, woken: Arc<Notify>) {
    let channel = [app.keys.wake(&journey.provider.name)];
    let mut failures = 0;
    loop {
        if let Ok(mut pubsub) = app.redis.listen(&channel).await {
            failures = 0;
            // Something may have been put while nobody listened.
            woken.notify_one();
            let mut messages = pubsub.on_message();
            while messages.next().await.is_some() {
                woken.notify_one();
            }
        }
        let nap = RECONNECT.wait(failures, &mut rand::rng());
        sleep(nap).await;
        failures += 1;
    }
}

fn report(journey: &Journey, error: &JourneyError) {
    tracing::warn!(provider = %journey.provider.name, %error, "sync interrupted; will try again");
}
