//! Stops the process on SIGTERM or Ctrl-C, and passes on SIGHUP.

use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Returns a token that Ctrl-C or SIGTERM cancels. A second signal ends the process at once.
pub(super) fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        signal().await;
        tracing::info!("stopping; a second signal stops at once");
        token.cancel();
        signal().await;
        std::process::exit(130);
    });
    stop
}

/// Returns what SIGHUP notifies; without this the signal would end the process.
pub(super) fn reload_on_signal() -> Arc<Notify> {
    let reload = Arc::new(Notify::new());
    #[cfg(unix)]
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        Ok(mut hangup) => {
            let notified = reload.clone();
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    notified.notify_one();
                }
            });
        }
        Err(error) => tracing::warn!(%error, "SIGHUP cannot be handled; definitions are read at start only"),
    }
    reload
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return interrupt().await };
    tokio::select! {
        () = interrupt() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    interrupt().await;
}

async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Ctrl-C cannot be handled here: SIGTERM or SIGKILL stops the process.
        std::future::pending::<()>().await;
    }
}
