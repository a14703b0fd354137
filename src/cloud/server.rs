//! The HTTP server: counts each request at arrival, then answers it with random latency and injected failures.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use super::api::{Caller, World, no_such_path, router};
use super::clock::{Clock, steady_clock};
use super::devices::Fleet;
use super::exit::Exit;
use super::failures::{Reply, garbage};
use super::limits::{Figures, Limit, Referee, Tightest, Verdict};
use super::problem::Problem;
use super::rng::Key;
use super::settings::CloudSettings;
use super::wire::{CuttableListener, Cutter};

/// Serves until SIGTERM, Ctrl-C or, if the settings say so, the end of standard input. Calls `ready` with the address
/// once connections are accepted.
///
/// # Errors
/// Invalid settings, or an address that cannot be bound.
pub async fn serve(settings: CloudSettings, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let exit = Exit::new(settings.exit_with_stdin)?;
    serve_until(settings, steady_clock(), ready, exit.requested()).await
}

/// [`serve`] with the clock and the stop condition as arguments. Returns as soon as `stop` completes: requests in
/// flight are cut off.
///
/// # Errors
/// As for [`serve`].
pub async fn serve_until(
    settings: CloudSettings,
    clock: Clock,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    settings.check()?;
    let cannot_listen = |error: io::Error| {
        let text = format!(
            "the simulated cloud cannot listen on {}: {error}; choose another address",
            settings.listen
        );
        io::Error::new(error.kind(), text)
    };
    let listener = TcpListener::bind(settings.listen).await.map_err(cannot_listen)?;
    let addr = listener.local_addr()?;
    let app = app(Cloud::new(settings, clock)).into_make_service_with_connect_info::<Cutter>();
    let server = axum::serve(CuttableListener(listener), app).into_future();
    ready(addr);
    tokio::select! {
        ended = server => ended,
        () = stop => Ok(()),
    }
}

struct Cloud {
    settings: CloudSettings,
    clock: Clock,
    accounts: HashMap<String, u32>,
    referee: Mutex<Referee>,
}

fn app(cloud: Cloud) -> Router {
    let cloud = Arc::new(cloud);
    let world = World {
        fleet: Fleet::new(cloud.settings.seed, cloud.settings.devices_per_account),
        offline_share: cloud.settings.offline_share,
    };
    Router::new()
        .route("/_referee", get(figures))
        .with_state(cloud.clone())
        .merge(router(world).route_layer(from_fn_with_state(cloud, admit)))
        .fallback(no_such_path)
}

async fn figures(State(cloud): State<Arc<Cloud>>) -> Json<Figures> {
    Json(cloud.with_referee(Referee::figures))
}

/// Counts the request, before anything can delay it. Nothing else counts requests.
async fn admit(
    State(cloud): State<Arc<Cloud>>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    mut request: Request,
    next: Next,
) -> Response {
    let account = bearer(request.headers()).and_then(|key| cloud.accounts.get(key)).copied();
    let (verdict, now_us) = cloud.with_referee(|referee, now_us| (referee.arrive(account, now_us), now_us));
    match verdict {
        Verdict::Unauthorized => Problem::Unauthorized.into_response(),
        Verdict::Throttled { limit, wait_us } => {
            let refusal = Problem::RateLimited { limit, retry_after_s: whole_seconds(wait_us) };
            let mut response = refusal.into_response();
            set_policy(response.headers_mut(), &limit);
            response
        }
        Verdict::Admitted { account, nth, tightest } => {
            request.extensions_mut().insert(Caller { account, arrived_ms: now_us / 1_000 });
            let mut response = cloud.answer(nth, cutter, request, next).await;
            tightest.inspect(|tightest| set_rate_limit(response.headers_mut(), tightest));
            response
        }
    }
}

impl Cloud {
    fn new(settings: CloudSettings, clock: Clock) -> Self {
        let accounts = settings.keys();
        let referee = Mutex::new(Referee::new(&settings.limits, settings.accounts, clock()));
        Self { settings, clock, accounts, referee }
    }

    /// The clock is read under the lock, so that requests are counted in the order of their instants.
    fn with_referee<T>(&self, act: impl FnOnce(&mut Referee, i64) -> T) -> T {
        let mut referee = self.referee.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut referee, (self.clock)())
    }

    async fn answer(&self, nth: u64, cutter: Cutter, request: Request, next: Next) -> Response {
        let draw = Key::new(self.settings.seed).with(REQUESTS).with(nth);
        let reply = self.settings.failures.decide(draw.with(0));
        self.with_referee(|referee, _| referee.count_failure(reply));
        tokio::time::sleep(self.latency(draw.with(1))).await;
        match reply {
            Reply::Normal => next.run(request).await,
            Reply::Error => Problem::Internal.into_response(),
            Reply::Garbage => spoil(next.run(request).await, draw.with(2)).await,
            Reply::Drop => dropped(&cutter),
            Reply::Hang => {
                tokio::time::sleep(self.settings.failures.hang).await;
                dropped(&cutter)
            }
        }
    }

    fn latency(&self, draw: Key) -> Duration {
        let (from_ms, to_ms) =
            (*self.settings.latency_ms.start() as f64, *self.settings.latency_ms.end() as f64);
        Duration::from_secs_f64(draw.between(from_ms, to_ms) / 1_000.0)
    }
}

/// The branch of the seed from which latency and failures of requests are drawn.
const REQUESTS: u64 = 0x7265_7173;

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// Cuts the connection, so that the response returned is never written.
fn dropped(cutter: &Cutter) -> Response {
    cutter.cut();
    Response::default()
}

async fn spoil(response: Response, draw: Key) -> Response {
    let (mut parts, body) = response.into_parts();
    // The body is in memory and a batch at most, so it needs no limit and reading it cannot fail.
    let real = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(garbage(&real, draw)))
}

fn set_rate_limit(headers: &mut HeaderMap, tightest: &Tightest) {
    set_policy(headers, &tightest.limit);
    headers.insert(HeaderName::from_static("x-ratelimit-limit"), tightest.limit.amount.into());
    headers.insert(HeaderName::from_static("x-ratelimit-remaining"), tightest.remaining.into());
    headers.insert(HeaderName::from_static("x-ratelimit-reset"), whole_seconds(tightest.reset_us).into());
}

/// Names the limit that the other headers describe: there may be several of different scopes.
fn set_policy(headers: &mut HeaderMap, limit: &Limit) {
    if let Ok(name) = HeaderValue::from_str(&limit.to_string()) {
        headers.insert(HeaderName::from_static("x-ratelimit-policy"), name);
    }
}

/// Rounded up, so that a client that waits this long is not refused again.
fn whole_seconds(wait_us: i64) -> i64 {
    (wait_us + 999_999) / 1_000_000
}
