//! One connection, from its acceptance to its end.

use super::activity::{Activity, Phase, Watched, WatchedBody};
use super::places::Place;
use crate::http::error::ApiError;
use crate::settings::Http;
use axum::Router;
use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// More than `error::HEADERS_MAX`, so that a problem document answers those that have a few too many.
const HEADERS_PARSED_MAX: usize = 256;

/// What is answered while no connection has a place: whoever looks after the process must see that it lives.
const ALWAYS_ANSWERED: [&str; 2] = ["/healthz", "/readyz"];

/// How long a connection may go without a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    head: Duration,
    idle: Duration,
}

impl Limits {
    pub(super) fn new(settings: &Http) -> Self {
        let limit = |interval: crate::words::Interval| Duration::from_millis(interval.as_ms());
        Self { head: limit(settings.header_timeout), idle: limit(settings.idle_timeout) }
    }

    fn deadline(&self, activity: &Activity) -> Option<Instant> {
        let (phase, since) = activity.now();
        match phase {
            Phase::Head => Some(since + self.head),
            Phase::Idle | Phase::Stalled => Some(since + self.idle),
            Phase::Busy => None,
        }
    }
}

/// Serves a connection until its end, or until it has waited too long, or another needs its place. After `stop`, until
/// the end of the request that it is at.
pub(super) async fn run(
    stream: TcpStream,
    router: Router,
    place: Place,
    limits: Limits,
    stop: CancellationToken,
) {
    let activity = place.activity();
    let service = service_fn(|request| answer(request, &router, &activity, &place));
    let io = TokioIo::new(Watched { stream, activity: activity.clone() });
    let mut connection =
        pin!(http1::Builder::new().max_headers(HEADERS_PARSED_MAX).serve_connection(io, service));
    let mut waited = pin!(sleep_until(Instant::now() + limits.head));
    let mut stopping = false;
    loop {
        let end = poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => waited_too_long(&limits, &activity, waited.as_mut(), cx).map(|()| None),
        });
        tokio::select! {
            ended = end => {
                match ended {
                    Some(Err(error)) => tracing::debug!(%error, "connection closed"),
                    None => tracing::debug!("connection closed: it waited too long"),
                    Some(Ok(())) => {}
                }
                return;
            }
            () = place.needed_by_another() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                if matches!(activity.now().0, Phase::Head) {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Polled after the connection, whose phase may have changed: a new phase has a new deadline.
fn waited_too_long(
    limits: &Limits,
    activity: &Activity,
    mut sleep: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(deadline) = limits.deadline(activity) else { return Poll::Pending };
    if sleep.deadline() != deadline {
        sleep.as_mut().reset(deadline);
    }
    sleep.poll(cx)
}

fn answer(
    request: Request<Incoming>,
    router: &Router,
    activity: &Arc<Activity>,
    place: &Place,
) -> impl Future<Output = Result<Response<WatchedBody>, Infallible>> + use<> {
    activity.enter(Phase::Busy);
    let (router, activity, reserve) = (router.clone(), activity.clone(), place.is_reserve());
    let turned_away = reserve && !ALWAYS_ANSWERED.contains(&request.uri().path());
    if turned_away {
        place.turned_away();
    }
    async move {
        let mut response = match turned_away {
            true => ApiError::NoConnectionLeft.into_response(),
            false => TowerToHyperService::new(router).call(request).await?,
        };
        if reserve {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| WatchedBody { body, activity }))
    }
}
