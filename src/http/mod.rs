//! The API: reads from the cache, preferences into Postgres. Errors are problem documents, all made in `error`.

mod auth;
mod connections;
mod devices;
mod discover;
mod error;
mod extract;
mod health;
mod jobs;
mod keyring;
mod lag;
mod layers;
mod openapi;

pub use openapi::document;

use crate::app::App;
use axum::Router;
use axum::serve::ListenerExt;
use keyring::Keyring;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What every handler is handed.
#[derive(Clone)]
struct Api {
    app: Arc<App>,
    keys: Arc<Keyring>,
}

/// All endpoints. Must be called inside a tokio runtime: a task listens for revoked keys while the router lives.
pub fn router(app: App) -> Router {
    let body_bytes_max = app.settings.http.body_bytes_max;
    let keys = Arc::new(Keyring::open(app.pool.clone()));
    let (router, document) = openapi::routes().split_for_parts();
    let router = router.merge(openapi::serve(&document)).with_state(Api { app: Arc::new(app), keys });
    layers::around(router, body_bytes_max, layers::PATIENCE)
}

/// Answers until `stop`; then requests under way are finished, within the settings' grace.
pub async fn serve(app: App, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let grace = Duration::from_millis(app.settings.shutdown.grace.as_ms());
    // An answer is one small write: it must not wait for the previous one's acknowledgement.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let server = axum::serve(listener, router(app)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let out_of_patience = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = out_of_patience => {
            tracing::warn!("requests were still open after shutdown.grace: they are cut");
            Ok(())
        }
    }
}
