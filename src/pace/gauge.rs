//! The state of a quota and when it allows the next call. Pure; `take/lua/quota/gauge.lua` computes the same, and a
//! test compares the two.

use super::Gcra;
use crate::provider::adaptive::{CUT, CUT_PAUSE, RAISE};
use crate::provider::{Calendar, Limit, Zone};
use crate::words::{End, UnixMs};

/// The state of one quota of one holder: the app, a connection, a group or a device. Times in ms since the epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gauge {
    /// A sliding quota: GCRA's theoretical arrival time.
    Sliding {
        /// See [`Gcra`].
        tat_ms: f64,
    },
    /// A calendar quota: what was spent in a window.
    Aligned {
        /// Where the window begins.
        window_start_ms: f64,
        /// Cost spent in it.
        spent: f64,
    },
    /// Calls granted and not settled.
    Concurrent {
        /// Their number.
        in_flight: f64,
    },
    /// Errors since the last success.
    Errors {
        /// Their number.
        errors: f64,
        /// When the last of them was settled.
        last_ms: f64,
        /// Calls granted and not settled: each may become an error.
        in_flight: f64,
    },
    /// A sliding quota whose rate adapts.
    Adaptive {
        /// See [`Gcra`].
        tat_ms: f64,
        /// Calls per window at the current rate.
        rate: f64,
        /// When the rate was last cut.
        cut_ms: f64,
    },
}

impl Gauge {
    /// The state of a quota of which nothing was spent yet.
    pub fn new(limit: &Limit) -> Self {
        match limit {
            Limit::Sliding { .. } => Self::Sliding { tat_ms: 0.0 },
            Limit::Aligned { .. } => Self::Aligned { window_start_ms: 0.0, spent: 0.0 },
            Limit::Concurrent { .. } => Self::Concurrent { in_flight: 0.0 },
            Limit::Errors { .. } => Self::Errors { errors: 0.0, last_ms: 0.0, in_flight: 0.0 },
            Limit::Adaptive { start, .. } => Self::Adaptive { tat_ms: 0.0, rate: *start, cut_ms: 0.0 },
        }
    }

    /// The earliest instant, not before `from_ms`, at which `cost` may be spent; infinite if a call must end first.
    pub fn earliest_ms(&self, limit: &Limit, cost: f64, from_ms: f64) -> f64 {
        match (self, limit) {
            (Self::Sliding { tat_ms }, Limit::Sliding { emission_ms, burst }) => {
                Gcra { emission_ms: *emission_ms, burst: f64::from(*burst) }
                    .earliest_ms(*tat_ms, cost, from_ms)
            }
            (Self::Adaptive { tat_ms, rate, .. }, Limit::Adaptive { window_ms, .. }) => {
                Gcra { emission_ms: window_ms / rate, burst: 1.0 }.earliest_ms(
                    *tat_ms,
                    cost.min(1.0),
                    from_ms,
                )
            }
            (
                Self::Aligned { window_start_ms, spent },
                Limit::Aligned { amount, burst, margin_ms, calendar, zone },
            ) => {
                let pace =
                    Allowance { amount: f64::from(*amount), burst: f64::from(*burst), margin_ms: *margin_ms };
                aligned(*window_start_ms, *spent, &pace, (*calendar, zone), cost, from_ms)
            }
            (Self::Concurrent { in_flight }, Limit::Concurrent { amount }) => {
                if in_flight + 1.0 <= f64::from(*amount) { from_ms } else { f64::INFINITY }
            }
            (Self::Errors { errors, last_ms, in_flight }, Limit::Errors { amount, window_ms }) => {
                let expired = from_ms >= last_ms + window_ms;
                let counted = if expired { 0.0 } else { *errors };
                if counted + in_flight + 1.0 <= f64::from(*amount) {
                    from_ms
                } else if *in_flight > 0.0 {
                    f64::INFINITY
                } else {
                    last_ms + window_ms
                }
            }
            _ => from_ms,
        }
    }

    /// Spends `cost` at an instant that was allowed.
    pub fn spend(&mut self, limit: &Limit, cost: f64, at_ms: f64) {
        match (self, limit) {
            (Self::Sliding { tat_ms }, Limit::Sliding { emission_ms, burst }) => {
                let gcra = Gcra { emission_ms: *emission_ms, burst: f64::from(*burst) };
                *tat_ms = gcra.spend(*tat_ms, cost, at_ms);
            }
            (Self::Adaptive { tat_ms, rate, .. }, Limit::Adaptive { window_ms, .. }) => {
                *tat_ms = tat_ms.max(at_ms) + cost * window_ms / *rate;
            }
            (Self::Aligned { window_start_ms, spent }, Limit::Aligned { calendar, zone, .. }) => {
                let start_ms = calendar.boundaries(zone, UnixMs(at_ms as i64))[0].0 as f64;
                if start_ms > *window_start_ms {
                    (*window_start_ms, *spent) = (start_ms, 0.0);
                }
                *spent += cost;
            }
            (Self::Concurrent { in_flight } | Self::Errors { in_flight, .. }, _) => *in_flight += 1.0,
            _ => {}
        }
    }

    /// Updates the state when a call ends at `now_ms`. Does not refund what an unsent call spent.
    pub fn end(&mut self, limit: &Limit, end: End, cost: f64, now_ms: f64) {
        match (self, limit) {
            (Self::Concurrent { in_flight }, _) => *in_flight = (*in_flight - 1.0).max(0.0),
            (Self::Errors { errors, last_ms, in_flight }, _) => {
                *in_flight = (*in_flight - 1.0).max(0.0);
                match end {
                    End::Unsent => {}
                    End::Good => *errors = 0.0,
                    End::Error | End::Throttled | End::Lost => (*errors, *last_ms) = (*errors + 1.0, now_ms),
                }
            }
            (Self::Adaptive { rate, cut_ms, .. }, Limit::Adaptive { ceiling, floor, window_ms, .. }) => {
                match end {
                    End::Throttled if now_ms >= *cut_ms + window_ms * CUT_PAUSE => {
                        (*rate, *cut_ms) = ((*rate * CUT).max(*floor), now_ms);
                    }
                    End::Good => *rate = (*rate + RAISE * ceiling * cost / *rate).min(*ceiling),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// How a calendar quota is released over its window.
struct Allowance {
    amount: f64,
    burst: f64,
    margin_ms: f64,
}

/// The earliest instant at which `cost` may be spent. Within a window, margins excluded, the total released so far is
/// `burst + (amount − burst) · (elapsed share of the window)`.
fn aligned(
    window_start_ms: f64,
    spent: f64,
    pace: &Allowance,
    (calendar, zone): (Calendar, &Zone),
    cost: f64,
    from_ms: f64,
) -> f64 {
    let boundaries_ms = calendar.boundaries(zone, UnixMs(from_ms as i64)).map(|at| at.0 as f64);
    for window in boundaries_ms.windows(2) {
        // A call in a later window was granted already, and the state no longer holds what this one has left.
        if window_start_ms > window[0] {
            continue;
        }
        let spent = if window_start_ms == window[0] { spent } else { 0.0 };
        let (opens, closes) = (window[0] + pace.margin_ms, window[1] - pace.margin_ms);
        let needed = spent + cost - pace.burst;
        let released_ms = match pace.amount - pace.burst {
            _ if needed <= 0.0 => opens,
            rate if rate > 0.0 => opens + needed / rate * (closes - opens),
            _ => f64::INFINITY,
        };
        let at = from_ms.max(released_ms);
        if spent + cost <= pace.amount && at <= closes {
            return at;
        }
    }
    boundaries_ms[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn minute(amount: u32, burst: u32) -> Limit {
        let zone = Zone::default();
        Limit::Aligned { amount, burst, margin_ms: 500.0, calendar: Calendar::Minute, zone }
    }

    proptest! {
        /// Whatever is requested, no window of a provider's calendar that differs by up to the margin exceeds the
        /// amount.
        #[test]
        fn no_calendar_window_exceeds_the_amount(
            amount in 1_u32..40,
            burst_share in 0.0_f64..=1.0,
            skew_ms in -500.0_f64..500.0,
            requests in prop::collection::vec((0.0_f64..20_000.0, 1_u32..4), 1..120),
        ) {
            let burst = 1 + (burst_share * f64::from(amount - 1)) as u32;
            let limit = minute(amount, burst);
            let (mut gauge, mut now) = (Gauge::new(&limit), 1_800_000_000_000.0);
            let mut held: HashMap<i64, u32> = HashMap::new();
            for (pause, cost) in requests {
                let cost = cost.min(amount);
                now += pause;
                let at = gauge.earliest_ms(&limit, cost.into(), now);
                prop_assert!(at >= now && at < now + 180_000.0, "{at} from {now}");
                gauge.spend(&limit, cost.into(), at);
                *held.entry(((at + skew_ms) / 60_000.0).floor() as i64).or_default() += cost;
                now = at;
            }
            prop_assert!(held.values().all(|sum| *sum <= amount), "{held:?} of {amount}");
        }
    }

    #[test]
    fn adaptive_rate_finds_an_undeclared_limit() {
        let limit = Limit::Adaptive { ceiling: 100.0, start: 10.0, floor: 1.0, window_ms: 1_000.0 };
        let (mut gauge, mut now) = (Gauge::new(&limit), 0.0);
        // The provider allows 40 per second, with a small burst.
        let theirs = Gcra { emission_ms: 25.0, burst: 5.0 };
        let (mut tat, mut sent, mut refused) = (0.0, 0, 0);
        while now < 600_000.0 {
            let at = gauge.earliest_ms(&limit, 1.0, now);
            gauge.spend(&limit, 1.0, at);
            now = at;
            let good = theirs.earliest_ms(tat, 1.0, now) <= now;
            if good {
                tat = theirs.spend(tat, 1.0, now);
                sent += 1;
            } else {
                refused += 1;
            }
            gauge.end(&limit, if good { End::Good } else { End::Throttled }, 1.0, now);
        }
        let used = f64::from(sent) / (600.0 * 40.0);
        assert!(used > 0.7 && f64::from(refused) / f64::from(sent) < 0.03, "{used} used, {refused} refused");
    }

    #[test]
    fn errors_block_calls_until_they_expire() {
        let limit = Limit::Errors { amount: 2, window_ms: 600_000.0 };
        let mut gauge = Gauge::new(&limit);
        gauge.spend(&limit, 1.0, 0.0);
        gauge.spend(&limit, 1.0, 0.0);
        assert_eq!(gauge.earliest_ms(&limit, 1.0, 0.0), f64::INFINITY);
        gauge.end(&limit, End::Error, 1.0, 100.0);
        gauge.end(&limit, End::Unsent, 1.0, 100.0);
        assert_eq!(gauge.earliest_ms(&limit, 1.0, 200.0), 200.0, "one more error is allowed");
        gauge.spend(&limit, 1.0, 200.0);
        gauge.end(&limit, End::Lost, 1.0, 300.0);
        assert_eq!(gauge.earliest_ms(&limit, 1.0, 400.0), 600_300.0);
        gauge.spend(&limit, 1.0, 600_300.0);
        gauge.end(&limit, End::Good, 1.0, 600_400.0);
        assert_eq!(gauge, Gauge::Errors { errors: 0.0, last_ms: 300.0, in_flight: 0.0 });
    }
}
