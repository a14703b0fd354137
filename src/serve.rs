//! A running process: its roles, until it is stopped.

use crate::app::App;
use crate::journey::{self, Journey};
use crate::provider::LoadError;
use crate::words::UnixMs;
use crate::{discovery, http, keep};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a process may do. Any number of processes may have each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Answers HTTP.
    Api,
    /// Pulls from the providers.
    Fetch,
    /// Drains the outbox, rebuilds a lost schedule, looks after the history, lists devices.
    Keep,
}

/// How far a clock may be off after the machine was suspended.
const ASK_THE_TIME_EVERY: Duration = Duration::from_secs(1);

/// Runs the roles until `stop`; then what was sent lands, what was not is handed back, and it returns.
///
/// The listener is the API's; without one the API is not served, whatever the roles say.
pub async fn serve(
    app: App,
    roles: &[Role],
    listener: Option<TcpListener>,
    stop: CancellationToken,
) -> Result<(), LoadError> {
    let tasks = TaskTracker::new();
    if roles.contains(&Role::Fetch) {
        // All are built before the first runs: a definition that does not compile stops the start, not the work.
        let journeys: Result<Vec<_>, _> =
            app.registry.iter().map(|provider| Journey::new(&app, provider, stop.clone())).collect();
        let journeys: Vec<_> = journeys?.into_iter().map(Arc::new).collect();
        let (listening, stopped) = (journey::listen(app.clone(), journeys.clone()), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = listening => {}
            }
        });
        for journey in journeys {
            tasks.spawn(journey::run(journey));
        }
    }
    if roles.contains(&Role::Keep) {
        tasks.spawn(keep::run(app.clone(), stop.clone()));
        tasks.spawn(discovery::run(app.clone(), stop.clone()));
    }
    if let Some(listener) = listener.filter(|_| roles.contains(&Role::Api)) {
        let (app, stop) = (app.clone(), stop.clone());
        tasks.spawn(async move {
            if let Err(error) = http::serve(app, listener, stop).await {
                tracing::error!(%error, "the API stopped answering");
            }
        });
    }
    tasks.close();
    let all_done = async {
        tasks.wait().await;
        app.detached.close();
        app.detached.wait().await;
    };
    tokio::select! {
        () = all_done => {}
        () = keep_time(&app) => {}
    }
    Ok(())
}

/// Whatever the roles: readers are told ages.
async fn keep_time(app: &App) {
    loop {
        if let Ok(shared) = app.redis.time_ms().await {
            app.clock.learn(UnixMs(shared));
        }
        sleep(ASK_THE_TIME_EVERY).await;
    }
}
