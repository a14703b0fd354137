//! How many requests each key may make at this process, told by the standard headers.

use super::error::{ApiError, rate_limit};
use super::keyring::Key;
use crate::words::Interval;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

type Limiter = RateLimiter<i64, DashMapStateStore<i64>, DefaultClock, StateInformationMiddleware>;

/// The limiter of all keys.
pub(super) struct KeyLimit {
    /// None: requests have no limit.
    limiter: Option<Limiter>,
    amount: u32,
    window: Interval,
}

/// What is left to a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    amount: u32,
    window: Interval,
    left: u32,
    reset: Duration,
}

/// Where the extractor that knows the key leaves what is left to it, for the response.
#[derive(Clone, Default)]
pub(super) struct LeftCell(Arc<OnceLock<Left>>);

impl KeyLimit {
    /// So many requests of each key within the window, at once or one by one; 0: any number.
    pub(super) fn new(amount: u32, window: Interval) -> Self {
        let rate = NonZeroU32::new(amount)
            .and_then(|burst| Some(Quota::with_period(length(window) / amount)?.allow_burst(burst)));
        let limiter = rate.map(|rate| RateLimiter::dashmap(rate).with_middleware());
        Self { limiter, amount, window }
    }

    /// Counts a request of the key, or refuses it.
    pub(super) fn spend(&self, key: &Key, cell: Option<&LeftCell>) -> Result<(), ApiError> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let one_more = length(self.window) / self.amount;
        let (left, wait) = match limiter.check_key(&key.id) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(not_until) => (0, Some(not_until.wait_time_from(DefaultClock::default().now()))),
        };
        let (amount, window) = (self.amount, self.window);
        let left = Left { amount, window, left, reset: wait.unwrap_or(one_more) };
        if let Some(LeftCell(cell)) = cell {
            // It fails if it was set before: by the same request.
            let _ = cell.set(left);
        }
        wait.map_or(Ok(()), |wait| Err(ApiError::TooManyRequests { amount, window, wait }))
    }
}

fn length(window: Interval) -> Duration {
    Duration::from_millis(window.as_ms())
}

/// Tells with every answer to a key what is left to it.
pub(super) async fn tell(mut request: Request, next: Next) -> Response {
    let cell = LeftCell::default();
    request.extensions_mut().insert(cell.clone());
    let mut response = next.run(request).await;
    if let Some(left) = cell.0.get() {
        left.write(response.headers_mut());
    }
    response
}

impl Left {
    /// Beside those of another limit, which an answer may have too.
    fn write(&self, headers: &mut HeaderMap) {
        let Self { amount, window, left, reset } = *self;
        rate_limit::append(headers, "key", (amount, length(window)), (left, reset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preference::keys::Principal;
    use crate::words::{Role, TenantId};

    fn key(id: i64) -> Key {
        Key { id, principal: Principal { tenant: TenantId(1), role: Role::Reader }, expires: None }
    }

    #[test]
    fn each_key_has_its_own_requests() {
        let limit = KeyLimit::new(2, "1h".parse().unwrap());
        let spend = |id| {
            let cell = LeftCell::default();
            let refused = limit.spend(&key(id), Some(&cell)).is_err();
            (refused, cell.0.get().unwrap().left)
        };
        assert_eq!([spend(1), spend(1), spend(1)], [(false, 1), (false, 0), (true, 0)]);
        assert_eq!(spend(2), (false, 1));
        let any = KeyLimit::new(0, "1h".parse().unwrap());
        assert!((0..1_000).all(|_| any.spend(&key(1), None).is_ok()));
    }
}
