//! Decides each request at its arrival, and counts.

use serde::Serialize;

use super::gate::{Gate, Refusal, Tightest, Usage};
use super::limit::{Limit, Scope};
use super::seconds::{PerSecond, Seconds};
use crate::cloud::failures::Reply;

/// The decision on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admitted {
        account: u32,
        /// Number of the request, from 0: its random draws derive from it.
        nth: u64,
        tightest: Option<Tightest>,
    },
    Throttled {
        limit: Limit,
        wait_us: i64,
    },
    Unauthorized,
}

/// All counters. The time is an argument: the caller reads the clock and calls under one lock, so that requests are
/// counted in the order of their instants.
#[derive(Debug)]
pub(crate) struct Referee {
    started_us: i64,
    gate: Gate,
    requests: u64,
    unauthorized: u64,
    /// Per limit, in the order of the settings.
    throttled: Vec<u64>,
    limits: Vec<Limit>,
    injected: Injected,
    seconds: Seconds,
}

/// Failures injected so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Injected {
    error: u64,
    dropped: u64,
    hung: u64,
    garbage: u64,
}

/// The response to `GET /_referee`; the module documentation explains it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    uptime_s: f64,
    requests: u64,
    admitted: u64,
    throttled: u64,
    unauthorized: u64,
    injected: Injected,
    per_second: PerSecond,
    limits: Vec<LimitFigures>,
}

#[derive(Clone, Debug, Serialize)]
struct LimitFigures {
    name: String,
    scope: Scope,
    amount: u32,
    window_ms: u64,
    peak: usize,
    throttled: u64,
    used_share: Option<f64>,
    busiest_share: Option<f64>,
}

impl Referee {
    pub(crate) fn new(limits: &[Limit], accounts: u32, now_us: i64) -> Self {
        Self {
            started_us: now_us,
            gate: Gate::new(limits, accounts),
            requests: 0,
            unauthorized: 0,
            throttled: vec![0; limits.len()],
            limits: limits.to_vec(),
            injected: Injected::default(),
            seconds: Seconds::new(now_us),
        }
    }

    /// Decides a request. `None` as the account means that its key is unknown.
    pub(crate) fn arrive(&mut self, account: Option<u32>, now_us: i64) -> Verdict {
        let nth = self.requests;
        self.requests += 1;
        self.seconds.count(now_us);
        let Some(account) = account else {
            self.unauthorized += 1;
            return Verdict::Unauthorized;
        };
        match self.gate.admit(account, now_us) {
            Ok(tightest) => Verdict::Admitted { account, nth, tightest },
            Err(Refusal { limit, wait_us }) => {
                self.throttled[limit] += 1;
                Verdict::Throttled { limit: self.limits[limit], wait_us }
            }
        }
    }

    /// Counts an injected failure.
    pub(crate) fn count_failure(&mut self, reply: Reply) {
        match reply {
            Reply::Normal => {}
            Reply::Error => self.injected.error += 1,
            Reply::Drop => self.injected.dropped += 1,
            Reply::Hang => self.injected.hung += 1,
            Reply::Garbage => self.injected.garbage += 1,
        }
    }

    pub(crate) fn figures(&mut self, now_us: i64) -> Figures {
        let uptime_us = now_us - self.started_us;
        let throttled = self.throttled.iter().sum();
        let usages = self.gate.usages(now_us).into_iter().zip(&self.throttled);
        Figures {
            uptime_s: uptime_us as f64 / 1e6,
            requests: self.requests,
            admitted: self.requests - throttled - self.unauthorized,
            throttled,
            unauthorized: self.unauthorized,
            injected: self.injected,
            per_second: self.seconds.read(now_us),
            limits: usages.map(|(usage, throttled)| limit_figures(usage, *throttled, uptime_us)).collect(),
        }
    }
}

fn limit_figures(usage: Usage, throttled: u64, uptime_us: i64) -> LimitFigures {
    let limit = usage.limit;
    // Until a whole window has passed, the share would be too small.
    let is_full = uptime_us >= limit.window_us();
    LimitFigures {
        name: limit.to_string(),
        scope: limit.scope,
        amount: limit.amount,
        window_ms: limit.window_ms,
        peak: usage.peak,
        throttled,
        used_share: is_full.then_some(usage.used_share),
        busiest_share: is_full.then_some(usage.busiest_share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn each_request_is_counted_as_exactly_one_of_the_verdicts() {
        let mut referee = Referee::new(&[Limit::account(2, 1_000), Limit::app(3, 1_000)], 2, 0);
        let arrivals = [Some(0), Some(0), Some(0), None, Some(1), Some(1)];
        let verdicts = arrivals.map(|account| referee.arrive(account, 5));
        assert!(matches!(verdicts[1], Verdict::Admitted { account: 0, nth: 1, .. }));
        assert_eq!(verdicts[2], Verdict::Throttled { limit: Limit::account(2, 1_000), wait_us: S });
        assert_eq!(verdicts[3], Verdict::Unauthorized);
        assert_eq!(verdicts[5], Verdict::Throttled { limit: Limit::app(3, 1_000), wait_us: S });

        let figures = referee.figures(S);
        assert_eq!(
            (figures.requests, figures.admitted, figures.throttled, figures.unauthorized),
            (6, 3, 2, 1)
        );
        let by_limit = |pick: fn(&LimitFigures) -> u64| figures.limits.iter().map(pick).collect::<Vec<_>>();
        assert_eq!(by_limit(|limit| limit.throttled), [1, 1]);
        assert_eq!(by_limit(|limit| limit.peak as u64), [2, 3]);
    }

    #[test]
    fn shares_are_null_until_a_window_has_passed() {
        let mut referee = Referee::new(&[Limit::account(4, 1_000)], 1, 0);
        referee.arrive(Some(0), S / 2);
        assert_eq!(referee.figures(S - 1).limits[0].used_share, None);
        assert_eq!(referee.figures(S).limits[0].used_share, Some(0.25));
    }
}
