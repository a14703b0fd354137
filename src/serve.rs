//! A running process: its roles, until it is stopped. Definitions are re-read on request.

use crate::app::App;
use crate::journey::{self, Journey};
use crate::provider::LoadError;
use crate::supervise::GaveUp;
use crate::words::UnixMs;
use crate::{discovery, http, keep, webhook};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a process may do. Any number of processes may have each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Answers HTTP.
    Api,
    /// Pulls from the providers.
    Fetch,
    /// Drains the outbox, rebuilds a lost schedule, looks after the history, lists devices, posts to webhooks.
    Keep,
}

/// Why a process ended although nobody stopped it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A provider's definition cannot be used; nothing was started.
    #[error(transparent)]
    Definition(#[from] LoadError),
    /// The API's socket cannot be used; nothing was started.
    #[error("cannot use the API's socket: {0}")]
    Socket(#[from] std::io::Error),
    /// A task failed for good; the others were stopped in good order.
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
}

/// How often Redis is asked for the time and inspected. It bounds how far the clock is off after the machine was
/// suspended, and how long calls are granted on a server that has become unsuitable.
const LOOK_AT_REDIS_EVERY: Duration = Duration::from_secs(1);

/// Past `shutdown.grace`, the tasks have so long to end.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// Runs the roles until `stop`; then what was sent lands, what was not is handed back, and it returns: within
/// `shutdown.grace` and a second, even if a server does not answer.
///
/// The listener is the API's; without one the API is not served, whatever the roles say.
pub async fn serve(
    app: App,
    roles: &[Role],
    listener: Option<TcpListener>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    serve_and_reload(app, roles, listener, stop, &Notify::new()).await
}

/// [`serve`], and whenever `reload` is notified re-reads the definitions. If some are new, the roles stop as at the
/// end, so that calls land or are handed back, and start again with them; the API's socket stays open.
pub async fn serve_and_reload(
    mut app: App,
    roles: &[Role],
    listener: Option<TcpListener>,
    stop: CancellationToken,
    reload: &Notify,
) -> Result<(), ServeError> {
    let socket = listener.map(TcpListener::into_std).transpose()?.map(Arc::new);
    let last = app.shutdown_grace() + LAST_SECOND;
    let overdue = async {
        stop.cancelled().await;
        sleep(last).await;
    };
    tokio::select! {
        ended = run_and_reload(&mut app, roles, socket, &stop, reload) => ended,
        () = overdue => {
            tracing::warn!("stopped before all tasks had ended: a server did not answer within shutdown.grace");
            Ok(())
        }
    }
}

async fn run_and_reload(
    app: &mut App,
    roles: &[Role],
    socket: Option<Arc<std::net::TcpListener>>,
    stop: &CancellationToken,
    reload: &Notify,
) -> Result<(), ServeError> {
    loop {
        let round = stop.child_token();
        let mut running = pin!(run_roles(app.clone(), roles, socket.clone(), round.clone()));
        let registry = loop {
            tokio::select! {
                ended = &mut running => {
                    finish_detached(app).await;
                    return ended;
                }
                () = reload.notified() => {}
            }
            if let Some(registry) = app.re_read_definitions() {
                break registry;
            }
        };
        round.cancel();
        running.await?;
        app.registry = registry;
    }
}

/// Waits for tasks that must finish, at most for the shutdown grace.
async fn finish_detached(app: &App) {
    app.detached.close();
    if timeout(app.shutdown_grace(), app.detached.wait()).await.is_err() {
        tracing::warn!("tasks cut off at shutdown; a token that comes now is lost");
    }
}

async fn run_roles(
    app: App,
    roles: &[Role],
    socket: Option<Arc<std::net::TcpListener>>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    // Its own, so that a task that fails for good stops the others here, and nothing else of the caller.
    let stop = stop.child_token();
    let tasks = TaskTracker::new();
    if roles.contains(&Role::Fetch) {
        // All are built before the first runs: a definition that does not compile stops the start, not the work.
        let journeys: Result<Vec<_>, _> =
            app.registry.iter().map(|provider| Journey::new(&app, provider, stop.clone())).collect();
        let journeys: Vec<_> = journeys?.into_iter().map(Arc::new).collect();
        tasks.spawn(listen(app.clone(), journeys.clone(), stop.clone()));
        for (provider, journey) in app.registry.iter().zip(journeys) {
            let (supervisor, stop) = (app.supervisor.clone(), stop.clone());
            let task = format!("sync of {}", provider.name);
            tasks.spawn(async move { supervisor.run(&task, &stop, || journey::run(journey.clone())).await });
        }
    }
    if roles.contains(&Role::Keep) {
        tasks.spawn(keep::run(app.clone(), stop.clone()));
        tasks.spawn(post_to_webhooks(app.clone(), stop.clone()));
        let (app, stop) = (app.clone(), stop.clone());
        tasks.spawn(async move {
            let supervisor = app.supervisor.clone();
            supervisor.run("discovery", &stop, || discovery::run(app.clone(), stop.clone())).await
        });
    }
    if let Some(socket) = socket.filter(|_| roles.contains(&Role::Api)) {
        let app = if roles == [Role::Api] { app.clone() } else { app.for_readers() };
        tasks.spawn(answer(app, socket, stop.clone()));
    }
    tasks.close();
    let ended = async {
        tokio::select! {
            () = tasks.wait() => None,
            failure = app.supervisor.gave_up() => {
                stop.cancel();
                tasks.wait().await;
                Some(failure)
            }
        }
    };
    // Whatever the roles: readers are shown ages, and calls outside of the schedule are granted, too.
    let looking = async {
        app.supervisor.run("look at Redis", &stop, || look_at_redis(&app)).await;
        std::future::pending::<()>().await;
    };
    let failure = tokio::select! {
        failure = ended => failure,
        () = looking => None,
    };
    failure.map_or(Ok(()), |failure| Err(failure.into()))
}

/// Posts changes to webhooks.
async fn post_to_webhooks(app: App, stop: CancellationToken) {
    let supervisor = app.supervisor.clone();
    supervisor.run("webhooks", &stop, || webhook::run(app.clone(), stop.clone())).await;
}

/// Passes on wake-ups from other processes.
async fn listen(app: App, journeys: Vec<Arc<Journey>>, stop: CancellationToken) {
    let listening = app.supervisor.run("wake-ups", &stop, || journey::listen(app.clone(), journeys.clone()));
    stop.run_until_cancelled(listening).await;
}

/// Serves the API. A restart goes on accepting at the same socket.
async fn answer(app: App, socket: Arc<std::net::TcpListener>, stop: CancellationToken) {
    let supervisor = app.supervisor.clone();
    let failed = |error: std::io::Error| supervisor.give_up("API", error.to_string());
    let serve = async || match socket.try_clone().and_then(TcpListener::from_std) {
        Ok(listener) => http::serve(app.clone(), listener, stop.clone()).await,
        Err(error) => failed(error),
    };
    supervisor.run("API", &stop, serve).await;
}

async fn look_at_redis(app: &App) {
    loop {
        if let Ok(shared) = app.redis.time_ms().await {
            app.clock.learn(UnixMs(shared));
        }
        // What it finds, it logs; a server that does not answer is noticed by whoever needs it.
        drop(app.redis.inspect().await);
        sleep(LOOK_AT_REDIS_EVERY).await;
    }
}
