//! The cloud on the network: every request is counted at arrival, then served, late or badly as chance has
//! it.

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
use super::chance::Key;
use super::clock::{Clock, steady_clock};
use super::exit::Exit;
use super::failures::{Fate, garbage};
use super::fleet::Fleet;
use super::gate::Standing;
use super::limit::Limit;
use super::problem::Problem;
use super::referee::{Figures, Referee, Verdict};
use super::settings::CloudSettings;
use super::wire::{Scissors, Wires};

/// Serves until SIGTERM, ctrl-c or, if the settings say so, the end of standard input. `ready` is told the
/// address once connections are accepted.
///
/// # Errors
/// Settings that cannot be simulated, an address that cannot be listened on.
pub async fn serve(settings: CloudSettings, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let exit = Exit::new(settings.exit_with_stdin)?;
    serve_until(settings, steady_clock(), ready, exit.asked()).await
}

/// [`serve`] with the time and the end handed in. It returns at once when `stop` is done: requests under way
/// are cut.
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
    let app = app(Cloud::new(settings, clock)).into_make_service_with_connect_info::<Scissors>();
    let server = axum::serve(Wires(listener), app).into_future();
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

/// Arrival: the one place where a request is counted, before anything can delay it.
async fn admit(
    State(cloud): State<Arc<Cloud>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
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
            tell_policy(response.headers_mut(), &limit);
            response
        }
        Verdict::Admitted { account, nth, standing } => {
            request.extensions_mut().insert(Caller { account, arrived_ms: now_us / 1_000 });
            let mut response = cloud.answer(nth, scissors, request, next).await;
            standing.inspect(|standing| tell_standing(response.headers_mut(), standing));
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

    /// The clock is read under the lock: two requests cannot be counted in another order than their instants.
    fn with_referee<T>(&self, act: impl FnOnce(&mut Referee, i64) -> T) -> T {
        let mut referee = self.referee.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut referee, (self.clock)())
    }

    async fn answer(&self, nth: u64, scissors: Scissors, request: Request, next: Next) -> Response {
        let draw = Key::new(self.settings.seed).with(REQUESTS).with(nth);
        let fate = self.settings.failures.fate(draw.with(0));
        self.with_referee(|referee, _| referee.note(fate));
        tokio::time::sleep(self.latency(draw.with(1))).await;
        match fate {
            Fate::Answer => next.run(request).await,
            Fate::Error => Problem::Internal.into_response(),
            Fate::Garbage => spoilt(next.run(request).await, draw.with(2)).await,
            Fate::Drop => dropped(&scissors),
            Fate::Hang => {
                tokio::time::sleep(self.settings.failures.hang).await;
                dropped(&scissors)
            }
        }
    }

    fn latency(&self, draw: Key) -> Duration {
        let (from_ms, to_ms) =
            (*self.settings.latency_ms.start() as f64, *self.settings.latency_ms.end() as f64);
        Duration::from_secs_f64(draw.between(from_ms, to_ms) / 1_000.0)
    }
}

/// The branch of the seed that the fates of requests are drawn from.
const REQUESTS: u64 = 0x7265_7173;

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
}

/// What is returned here is never written: the connection is cut.
fn dropped(scissors: &Scissors) -> Response {
    scissors.cut();
    Response::default()
}

async fn spoilt(response: Response, draw: Key) -> Response {
    let (mut parts, body) = response.into_parts();
    // Our own bodies, a batch at most: no bound is needed, and reading them cannot fail.
    let real = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(garbage(&real, draw)))
}

fn tell_standing(headers: &mut HeaderMap, standing: &Standing) {
    tell_policy(headers, &standing.limit);
    headers.insert(HeaderName::from_static("x-ratelimit-limit"), standing.limit.amount.into());
    headers.insert(HeaderName::from_static("x-ratelimit-remaining"), standing.remaining.into());
    headers.insert(HeaderName::from_static("x-ratelimit-reset"), whole_seconds(standing.reset_us).into());
}

/// Names the limit that the other headers speak of: with several scopes, figures do not say whose they are.
fn tell_policy(headers: &mut HeaderMap, limit: &Limit) {
    if let Ok(name) = HeaderValue::from_str(&limit.to_string()) {
        headers.insert(HeaderName::from_static("x-ratelimit-policy"), name);
    }
}

/// Rounded up: whoever waits as long as told must not be refused again.
fn whole_seconds(wait_us: i64) -> i64 {
    (wait_us + 999_999) / 1_000_000
}
