//! The HTTP API: reads from the cache, writes preferences to Postgres. `error` makes every error response.

mod accept;
mod auth;
mod connections;
mod devices;
mod error;
mod export;
mod extract;
mod health;
mod idempotency;
mod jobs;
mod key_limit;
mod keyring;
mod lag;
mod layers;
mod openapi;
mod providers;
mod readings;
mod refusals;
mod webhooks;

pub use openapi::document;

use crate::app::App;
use crate::explain::Plans;
use crate::live::Live;
use accept::Places;
use axum::Router;
use axum::middleware::from_fn_with_state;
use key_limit::KeyLimit;
use keyring::Keyring;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Shared state of the handlers.
#[derive(Clone)]
struct Api {
    app: Arc<App>,
    keys: Arc<Keyring>,
    key_limit: Arc<KeyLimit>,
    plans: Arc<Plans>,
    live: Arc<Live>,
    /// Cancelled when the server stops: streams end then.
    stop: CancellationToken,
    /// The connections of the server, if it is not only a router.
    places: Option<Arc<Places>>,
}

/// Builds the router. Must be called inside a tokio runtime: tasks listen for revoked keys and for changes while the
/// router lives.
pub fn router(app: App) -> Router {
    router_until(app, CancellationToken::new())
}

/// Likewise; live streams end when `stop` is cancelled.
pub fn router_until(app: App, stop: CancellationToken) -> Router {
    router_at(app, stop, None)
}

fn router_at(app: App, stop: CancellationToken, places: Option<Arc<Places>>) -> Router {
    let settings = app.settings.http.clone();
    let keys = Arc::new(Keyring::open(app.pool.clone(), app.supervisor.clone()));
    let key_limit = Arc::new(KeyLimit::new(settings.key_requests, settings.key_window));
    let live = Arc::new(Live::start(app.clone()));
    let api = Api { app: Arc::new(app), keys, key_limit, plans: Arc::default(), live, stop, places };
    let (router, document) =
        openapi::routes(settings.body_bytes_max, settings.import_bytes_max).split_for_parts();
    let once = from_fn_with_state(api.clone(), idempotency::once);
    let router = router.layer(once).merge(openapi::serve(&document)).with_state(api);
    layers::wrap(router, &settings.cors_origins)
}

/// Serves until `stop`, then finishes requests in flight for at most `shutdown.grace`.
pub async fn serve(app: App, listener: TcpListener, stop: CancellationToken) {
    let grace = app.shutdown_grace();
    let settings = app.settings.http.clone();
    let places = Arc::new(Places::new(accept::connections_max(settings.connections_max)));
    let router = router_at(app, stop.clone(), Some(places.clone()));
    let grace_over = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        () = accept::serve(listener, router, places, &settings, &stop) => {}
        () = grace_over => tracing::warn!("closing requests that were still open after shutdown.grace"),
    }
}
