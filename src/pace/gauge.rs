//! What is known of a quota, and what that allows. Pure; `take/lua/pace.lua` computes the same, and a test holds the
//! two together.

use super::Gcra;
use crate::provider::{Calendar, Limit, Zone};
use crate::words::{End, UnixMs};

/// The state of one quota of one account, home, device or of the whole application. Times in ms since the epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gauge {
    /// The theoretical arrival time.
    Sliding {
        /// See [`Gcra`].
        tat_ms: f64,
    },
    /// What was spent since a turn of the calendar.
    Aligned {
        /// The turn.
        turn_ms: f64,
        /// Cost spent since.
        spent: f64,
    },
    /// Calls granted and not settled.
    Concurrent {
        /// So many.
        in_flight: f64,
    },
    /// Errors since the last success.
    Errors {
        /// So many.
        errors: f64,
        /// When the last of them was settled.
        last_ms: f64,
        /// Calls granted and not settled: each may become one.
        in_flight: f64,
    },
    /// A sliding one with a rate of its own.
    Adaptive {
        /// See [`Gcra`].
        tat_ms: f64,
        /// How much is tried in a window now.
        rate: f64,
        /// When it was last cut.
        cut_ms: f64,
    },
}

/// An adaptive rate is cut by this factor …
pub const CUT: f64 = 0.5;
/// … at most once in this share of its window: the refusals of one burst are one piece of news.
pub const CUT_PAUSE: f64 = 0.1;
/// A window of good answers raises it by this share of its ceiling.
pub const RAISE: f64 = 0.02;

impl Gauge {
    /// Of a quota of which nothing was ever spent.
    pub fn new(limit: &Limit) -> Self {
        match limit {
            Limit::Sliding { .. } => Self::Sliding { tat_ms: 0.0 },
            Limit::Aligned { .. } => Self::Aligned { turn_ms: 0.0, spent: 0.0 },
            Limit::Concurrent { .. } => Self::Concurrent { in_flight: 0.0 },
            Limit::Errors { .. } => Self::Errors { errors: 0.0, last_ms: 0.0, in_flight: 0.0 },
            Limit::Adaptive { start, .. } => Self::Adaptive { tat_ms: 0.0, rate: *start, cut_ms: 0.0 },
        }
    }

    /// The earliest instant, not before `from_ms`, at which `cost` may be spent; infinite if not before a call ends.
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
                Self::Aligned { turn_ms, spent },
                Limit::Aligned { amount, burst, margin_ms, calendar, zone },
            ) => {
                let pace =
                    Allowance { amount: f64::from(*amount), burst: f64::from(*burst), margin_ms: *margin_ms };
                aligned(*turn_ms, *spent, &pace, (*calendar, zone), cost, from_ms)
            }
            (Self::Concurrent { in_flight }, Limit::Concurrent { amount }) => {
                if in_flight + 1.0 <= f64::from(*amount) { from_ms } else { f64::INFINITY }
            }
            (Self::Errors { errors, last_ms, in_flight }, Limit::Errors { amount, window_ms }) => {
                let forgotten = from_ms >= last_ms + window_ms;
                let known = if forgotten { 0.0 } else { *errors };
                if known + in_flight + 1.0 <= f64::from(*amount) {
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
            (Self::Aligned { turn_ms, spent }, Limit::Aligned { calendar, zone, .. }) => {
                let turn = calendar.turns(zone, UnixMs(at_ms as i64))[0].0 as f64;
                if turn > *turn_ms {
                    (*turn_ms, *spent) = (turn, 0.0);
                }
                *spent += cost;
            }
            (Self::Concurrent { in_flight } | Self::Errors { in_flight, .. }, _) => *in_flight += 1.0,
            _ => {}
        }
    }

    /// Learns how a call ended at `now_ms`. Giving back what an unsent one spent is not decided here.
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

/// How an aligned quota is given out over its window.
struct Allowance {
    amount: f64,
    burst: f64,
    margin_ms: f64,
}

/// Between two turns, margins left out, `burst + (amount − burst) · (share of the window gone)` may be spent.
fn aligned(
    turn_ms: f64,
    spent: f64,
    pace: &Allowance,
    (calendar, zone): (Calendar, &Zone),
    cost: f64,
    from_ms: f64,
) -> f64 {
    let turns = calendar.turns(zone, UnixMs(from_ms as i64)).map(|turn| turn.0 as f64);
    for window in turns.windows(2) {
        // One of a later window was granted already: what this one has left is not known any more.
        if turn_ms > window[0] {
            continue;
        }
        let spent = if turn_ms == window[0] { spent } else { 0.0 };
        let (opens, closes) = (window[0] + pace.margin_ms, window[1] - pace.margin_ms);
        let wanted = spent + cost - pace.burst;
        let given_out = match pace.amount - pace.burst {
            _ if wanted <= 0.0 => opens,
            rate if rate > 0.0 => opens + wanted / rate * (closes - opens),
            _ => f64::INFINITY,
        };
        let at = from_ms.max(given_out);
        if spent + cost <= pace.amount && at <= closes {
            return at;
        }
    }
    turns[2]
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
        /// However greedily one asks, no window of a calendar that is off by up to the margin holds more than N.
        #[test]
        fn no_calendar_window_holds_more_than_the_amount(
            amount in 1_u32..40,
            burst_share in 0.0_f64..=1.0,
            skew_ms in -500.0_f64..500.0,
            asks in prop::collection::vec((0.0_f64..20_000.0, 1_u32..4), 1..120),
        ) {
            let burst = 1 + (burst_share * f64::from(amount - 1)) as u32;
            let limit = minute(amount, burst);
            let (mut gauge, mut now) = (Gauge::new(&limit), 1_800_000_000_000.0);
            let mut held: HashMap<i64, u32> = HashMap::new();
            for (pause, cost) in asks {
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
    fn an_adaptive_rate_finds_a_limit_that_nobody_told() {
        let limit = Limit::Adaptive { ceiling: 100.0, start: 10.0, floor: 1.0, window_ms: 1_000.0 };
        let (mut gauge, mut now) = (Gauge::new(&limit), 0.0);
        // The cloud allows 40 a second: GCRA with room for a few.
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
    fn errors_stop_short_and_are_forgotten() {
        let limit = Limit::Errors { amount: 2, window_ms: 600_000.0 };
        let mut gauge = Gauge::new(&limit);
        gauge.spend(&limit, 1.0, 0.0);
        gauge.spend(&limit, 1.0, 0.0);
        assert_eq!(gauge.earliest_ms(&limit, 1.0, 0.0), f64::INFINITY);
        gauge.end(&limit, End::Error, 1.0, 100.0);
        gauge.end(&limit, End::Unsent, 1.0, 100.0);
        assert_eq!(gauge.earliest_ms(&limit, 1.0, 200.0), 200.0, "one more may fail");
        gauge.spend(&limit, 1.0, 200.0);
        gauge.end(&limit, End::Lost, 1.0, 300.0);
        assert_eq!(gauge.earliest_ms(&limit, 1.0, 400.0), 600_300.0);
        gauge.spend(&limit, 1.0, 600_300.0);
        gauge.end(&limit, End::Good, 1.0, 600_400.0);
        assert_eq!(gauge, Gauge::Errors { errors: 0.0, last_ms: 300.0, in_flight: 0.0 });
    }
}
