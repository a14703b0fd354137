//! Accepts the API's connections and bounds them: how many are open, and how long each may go without a request.
//! Without bounds a few hundred clients that send nothing take all descriptors of the process, and with them its
//! connections to Postgres, Redis and the providers.

mod activity;
mod connection;
mod places;

pub(super) use places::{Connections, Places};

use crate::settings::Http;
use axum::Router;
use connection::Limits;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// At most so many connections by default, however many descriptors there are: an idle one takes about 10 kB.
const CONNECTIONS_MAX: u64 = 10_000;

/// Serves until `stop`, then lets requests in flight finish. Cut off when dropped.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    places: Arc<Places>,
    settings: &Http,
    stop: &CancellationToken,
) {
    let limits = Limits::new(settings);
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            let Some(stream) = next(&listener, &places).await else { continue };
            let place = places.take().await;
            while connections.try_join_next().is_some() {}
            connections.spawn(connection::run(stream, router.clone(), place, limits, stop.clone()));
        }
    };
    stop.run_until_cancelled(accepting).await;
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection; none if it was given up meanwhile, or could not be accepted.
async fn next(listener: &TcpListener, places: &Places) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => {
            // A response is one small write: Nagle's algorithm would delay it until the previous one is acknowledged.
            let _ = stream.set_nodelay(true);
            Some(stream)
        }
        Err(error) if is_of_the_client(&error) => None,
        Err(error) => {
            // Most likely the process has no descriptor left.
            let closed = places.close_the_longest_waiting();
            tracing::error!(%error, closed, "cannot accept a connection; trying again soon");
            sleep(if closed { Duration::from_millis(20) } else { Duration::from_secs(1) }).await;
            None
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

/// The cap: as set, or half of the process's descriptors, so that the rest remains for its own connections.
pub(super) fn connections_max(set: u32) -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let default = descriptors.map_or(CONNECTIONS_MAX, |limit| (limit / 2).clamp(1, CONNECTIONS_MAX));
    if set > 0 { set as usize } else { default as usize }
}
