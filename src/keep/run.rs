//! The keeper's loops.

use super::{
    CheckReport, KeepError, Rebuild, check, drain, end_forgotten, history, rebuild_if_lost, roll_up, turn,
};
use crate::app::App;
use crate::postgres::Listener;
use crate::preference::outbox::CHANNEL;
use crate::provider::Provider;
use crate::redis::RedisError;
use crate::retry::{RECONNECT, Retry};
use crate::words::ProviderName;
use futures::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How soon a restart of Redis is noticed.
const GUARD_EVERY: Duration = Duration::from_secs(1);
/// An emptied Redis is noticed within this many looks.
const LOOKS_PER_CHECK: u64 = 10;
/// Rows whose notification was lost with a connection are found after this.
const DRAIN_AT_LEAST_EVERY: Duration = Duration::from_secs(30);
/// A whole pass over a million jobs takes seconds: seldom enough not to be felt.
const CHECK_EVERY: Duration = Duration::from_secs(10 * 60);
/// Less than that, so that whoever had the last turn finds the next one free.
const CHECK_TURN: Duration = Duration::from_secs(9 * 60);
/// A window that begins or ends right after it was set begins or ends so much late at most.
const TURNS_EVERY: Duration = Duration::from_secs(15);
const TURN_PAUSE: Duration = Duration::from_secs(1);
/// How many schedules are built at a time: each has a connection of its own for its lock.
const BUILT_AT_ONCE: usize = 8;
const HISTORY_EVERY: Duration = Duration::from_secs(60 * 60);
/// Less than the shortest roll-up.
const ROLL_UP_EVERY: Duration = Duration::from_secs(60);
const HISTORY_RETRY: Retry = Retry { base: Duration::from_secs(5), cap: Duration::from_secs(10 * 60) };

/// Runs the keeper's loops until stopped.
pub async fn run(app: App, stop: CancellationToken) {
    let supervisor = &app.supervisor;
    tokio::select! {
        () = stop.cancelled() => {}
        () = supervisor.run("keeper: outbox", &stop, || keep_drained(&app)) => {}
        () = supervisor.run("keeper: rebuild", &stop, || keep_built(&app)) => {}
        () = supervisor.run("keeper: history", &stop, || keep_history(&app)) => {}
        () = supervisor.run("keeper: rollups", &stop, || keep_rolled_up(&app)) => {}
        () = supervisor.run("keeper: turns", &stop, || keep_turned(&app)) => {}
        () = supervisor.run("keeper: check", &stop, || keep_sound(&app)) => {}
    }
}

/// Changes intervals by the time of day.
async fn keep_turned(app: &App) {
    loop {
        let wait = match turn(app).await {
            Ok(next) => next.map_or(TURNS_EVERY, |next| {
                let ms = next.since_ms(app.clock.now()).max(0);
                // At least: one that another process holds is still to be looked at.
                Duration::from_millis(ms.unsigned_abs()).clamp(TURN_PAUSE, TURNS_EVERY)
            }),
            Err(error) => {
                tracing::warn!(%error, "intervals not changed by the time of day; will try again");
                TURNS_EVERY
            }
        };
        sleep(wait).await;
    }
}

/// Drains the outbox whenever a row is added.
async fn keep_drained(app: &App) {
    let mut failures = 0;
    loop {
        app.redis.until_usable().await;
        let interrupted = drain_on_notice(app, &mut failures).await;
        tracing::warn!(error = %interrupted, "outbox not drained; will try again");
        let delay = RECONNECT.wait(failures, &mut rand::rng());
        failures += 1;
        sleep(delay).await;
    }
}

async fn drain_on_notice(app: &App, failures: &mut u32) -> KeepError {
    let mut listener = match Listener::open(&app.pool, CHANNEL).await {
        Ok(listener) => listener,
        Err(error) => return error.into(),
    };
    loop {
        if let Err(error) = drain(app).await {
            return error;
        }
        *failures = 0;
        if let Ok(Err(error)) = timeout(DRAIN_AT_LEAST_EVERY, listener.next()).await {
            return error.into();
        }
    }
}

/// Rebuilds schedules that Redis has lost.
async fn keep_built(app: &App) {
    let (mut known, mut failures) = (None, Failures::default());
    for look in 0_u64.. {
        app.redis.until_usable().await;
        let run = app.redis.run_id().await.ok();
        if run.is_none() || run != known || look % LOOKS_PER_CHECK == 0 {
            let built = build_all(app, &mut failures).await;
            known = run.filter(|_| built);
        }
        sleep(GUARD_EVERY).await;
    }
}

/// Why schedules could not be built at the last look: each reason is logged when it is new.
type Failures = HashMap<ProviderName, String>;

/// Whether all schedules are built. Several at a time: each needs a dozen round trips to Postgres.
async fn build_all(app: &App, failures: &mut Failures) -> bool {
    if let Err(error) = end_forgotten(app).await {
        tracing::debug!(%error, "incidents not compared; will try again");
    }
    let build = async |provider: &'_ Arc<Provider>| {
        (provider.name.clone(), rebuild_if_lost(app, &provider.name).await)
    };
    let mut building = stream::iter(app.registry.iter()).map(build).buffer_unordered(BUILT_AT_ONCE);
    let mut built = true;
    while let Some((provider, result)) = building.next().await {
        let failed = match result {
            Ok(Rebuild::NotNeeded | Rebuild::Done(_)) => None,
            // Its builder may die: look again.
            Ok(Rebuild::UnderWay) => Some(String::new()),
            // An unsuitable Redis was logged by the inspection that found it.
            Err(KeepError::Redis(RedisError::Unsuitable { .. })) => Some(String::new()),
            Err(error) => Some(error.to_string()),
        };
        built &= failed.is_none();
        let Some(error) = failed else {
            failures.remove(&provider);
            continue;
        };
        if failures.get(&provider) != Some(&error) && !error.is_empty() {
            tracing::warn!(%provider, error, "schedule not rebuilt; will try again");
        }
        failures.insert(provider, error);
    }
    built
}

/// Finds and repairs jobs that a race or a failure left in no place or in two.
async fn keep_sound(app: &App) {
    loop {
        sleep(CHECK_EVERY).await;
        match check_in_turn(app).await {
            Ok(None) => {}
            Ok(Some(report)) if report.problems.is_empty() => {}
            Ok(Some(report)) => tracing::warn!(
                problems = report.problems.len(),
                repaired = report.repaired,
                first = %report.problems[0].what,
                "the schedule differed from Postgres"
            ),
            Err(error) => tracing::warn!(%error, "schedule not checked; will try again"),
        }
    }
}

/// Checks and repairs all schedules, unless a process has done so within the last minutes or is about to. The turn is a
/// key that expires: nothing of the pool is held over a check of a million jobs.
pub async fn check_in_turn(app: &App) -> Result<Option<CheckReport>, KeepError> {
    if !app.redis.take_turn(&app.keys.check(), CHECK_TURN).await? {
        return Ok(None);
    }
    check(app, true).await.map(Some)
}

async fn keep_history(app: &App) {
    repeat(HISTORY_EVERY, "history upkeep is incomplete", || history::turn(app)).await;
}

async fn keep_rolled_up(app: &App) {
    repeat(ROLL_UP_EVERY, "history not rolled up", || roll_up(app)).await;
}

/// Takes turns for ever. A failure that repeats is logged once: a query may hold a partition for hours.
async fn repeat<T, F>(every: Duration, failing: &str, turn: impl Fn() -> F)
where
    F: Future<Output = Result<T, KeepError>>,
{
    let (mut failures, mut logged) = (0, None);
    loop {
        let delay = match turn().await {
            Ok(_) => {
                (failures, logged) = (0, None);
                every
            }
            Err(error) => {
                let text = error.to_string();
                if logged.as_ref() != Some(&text) {
                    tracing::warn!(%error, "{failing}; will try again");
                    logged = Some(text);
                }
                failures += 1;
                HISTORY_RETRY.bound(failures - 1)
            }
        };
        sleep(delay).await;
    }
}
