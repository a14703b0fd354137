//! One connection, from its acceptance to its end.

use super::activity::{Activity, Phase, RequestBody, Watched, WatchedBody};
use super::places::Place;
use crate::http::error::ApiError;
use crate::settings::Http;
use axum::Router;
use axum::body::Bytes;
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

/// A connection without a request for so long gives its buffers back.
const REST_AFTER: Duration = Duration::from_millis(200);

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
    let mut resting = Watched { stream, ahead: Bytes::new(), activity: activity.clone() };
    loop {
        if resting.ahead.is_empty() {
            let waits_until = limits.deadline(&activity).unwrap_or_else(Instant::now);
            tokio::select! {
                readable = resting.stream.readable() => if readable.is_err() { return },
                () = sleep_until(waits_until) => return,
                () = place.needed_by_another() => return,
                () = stop.cancelled() => return,
            }
        }
        // On the heap, so that it takes no memory while the connection rests.
        match Box::pin(work(resting, &router, &place, limits, &stop)).await {
            Some(rested) => resting = rested,
            None => return,
        }
    }
}

/// Answers requests until there has been none for a while: hyper's buffers take as much as everything else of a
/// connection, and most connections rest. None if the connection is over.
async fn work(
    socket: Watched,
    router: &Router,
    place: &Place,
    limits: Limits,
    stop: &CancellationToken,
) -> Option<Watched> {
    let activity = socket.activity.clone();
    let service = service_fn(|request| answer(request, router, &activity, place));
    let mut http1 = http1::Builder::new();
    let mut connection =
        http1.max_headers(HEADERS_PARSED_MAX).serve_connection(TokioIo::new(socket), service);
    let mut wait = pin!(sleep_until(Instant::now() + limits.head));
    let mut stopping = false;
    loop {
        let step = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Step::Ended(ended)),
            Poll::Pending => waited(&limits, &activity, wait.as_mut(), cx),
        });
        tokio::select! {
            step = step => {
                match step {
                    Step::Rests => {
                        let parts = connection.into_parts();
                        let socket = parts.io.into_inner();
                        // An empty one would hold its buffer.
                        let ahead = Some(parts.read_buf).filter(|read| !read.is_empty()).unwrap_or_default();
                        return Some(Watched { ahead, ..socket });
                    }
                    Step::Ended(Err(error)) => tracing::debug!(%error, "connection closed"),
                    Step::Overdue => tracing::debug!("connection closed: it waited too long"),
                    Step::Ended(Ok(())) => {}
                }
                return None;
            }
            () = place.needed_by_another() => return None,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                if matches!(activity.now().0, Phase::Head) {
                    return None;
                }
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
}

enum Step {
    Ended(hyper::Result<()>),
    Rests,
    Overdue,
}

/// Polled after the connection, whose phase may have changed: a new phase has a new deadline.
fn waited(
    limits: &Limits,
    activity: &Activity,
    mut sleep: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<Step> {
    let rests = activity.rests_since().map(|since| (since + REST_AFTER, Step::Rests));
    let overdue = limits.deadline(activity).map(|at| (at, Step::Overdue));
    let Some((at, step)) = rests.into_iter().chain(overdue).min_by_key(|(at, _)| *at) else {
        return Poll::Pending;
    };
    if sleep.deadline() != at {
        sleep.as_mut().reset(at);
    }
    sleep.poll(cx).map(|()| step)
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
    let request = request.map(|body| RequestBody::new(body, activity.clone()));
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
