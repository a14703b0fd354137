//! The exact count: each admitted request is stored until its window has passed.

use std::collections::VecDeque;

/// Admits at most `amount` in any window `[t, t + window)`. No buckets, no smoothing, no tolerance.
///
/// The time is an argument and never goes back. Checking (`wait_us`) and counting (`record`) are separate, as a request
/// that another limit refuses must not be counted here.
#[derive(Debug)]
pub(crate) struct SlidingLog {
    amount: usize,
    window_us: i64,
    /// Oldest first; never more than `amount`.
    admitted: VecDeque<i64>,
    peak: usize,
}

impl SlidingLog {
    pub(crate) fn new(amount: u32, window_us: i64) -> Self {
        Self { amount: amount as usize, window_us, admitted: VecDeque::new(), peak: 0 }
    }

    /// How long until one more would be admitted; 0 means now.
    pub(crate) fn wait_us(&mut self, now_us: i64) -> i64 {
        if self.used(now_us) < self.amount { 0 } else { self.reset_us(now_us) }
    }

    /// Counts one request that was admitted at this instant.
    pub(crate) fn record(&mut self, now_us: i64) {
        debug_assert_eq!(self.wait_us(now_us), 0, "recorded a request that should have been refused");
        self.admitted.push_back(now_us);
        self.peak = self.peak.max(self.admitted.len());
    }

    /// How many were admitted in the window that ends now.
    pub(crate) fn used(&mut self, now_us: i64) -> usize {
        while self.admitted.front().is_some_and(|at_us| now_us - at_us >= self.window_us) {
            self.admitted.pop_front();
        }
        self.admitted.len()
    }

    pub(crate) fn remaining(&mut self, now_us: i64) -> usize {
        self.amount - self.used(now_us)
    }

    /// How long until the oldest request counted leaves the window; 0 if none is counted.
    pub(crate) fn reset_us(&mut self, now_us: i64) -> i64 {
        self.used(now_us);
        self.admitted.front().map_or(0, |at_us| at_us + self.window_us - now_us)
    }

    /// The most that any window has held so far.
    pub(crate) fn peak(&self) -> usize {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn try_admit(log: &mut SlidingLog, now_us: i64) -> bool {
        let admitted = log.wait_us(now_us) == 0;
        if admitted {
            log.record(now_us);
        }
        admitted
    }

    #[test]
    fn next_request_waits_until_the_oldest_leaves_the_window() {
        let mut log = SlidingLog::new(2, 1_000);
        assert!(try_admit(&mut log, 100));
        assert!(try_admit(&mut log, 400));
        assert!(!try_admit(&mut log, 400));
        assert_eq!(log.wait_us(400), 700);
        assert!(!try_admit(&mut log, 1_099), "one microsecond too early");
        assert!(try_admit(&mut log, 1_100));
        assert!(!try_admit(&mut log, 1_100), "the request at 400 still counts");
    }

    #[test]
    fn refused_requests_are_not_counted() {
        let mut log = SlidingLog::new(1, 1_000);
        assert!(try_admit(&mut log, 0));
        (1..1_000).for_each(|now_us| assert!(!try_admit(&mut log, now_us)));
        assert!(try_admit(&mut log, 1_000));
    }

    #[test]
    fn burst_across_a_calendar_boundary_is_limited() {
        let mut log = SlidingLog::new(10, 1_000_000);
        let admitted = (0..20).filter(|n| try_admit(&mut log, 990_000 + n * 1_000)).count();
        assert_eq!((admitted, log.peak()), (10, 10));
    }

    proptest! {
        #[test]
        fn no_window_exceeds_the_amount_and_no_request_is_refused_needlessly(
            steps in prop::collection::vec(0i64..400, 1..300), amount in 1u32..8,
        ) {
            let window_us = 1_000;
            let mut log = SlidingLog::new(amount, window_us);
            let (mut now_us, mut admitted, mut peak) = (0, Vec::<i64>::new(), 0);
            for step in steps {
                now_us += step;
                let before = admitted.iter().filter(|at_us| now_us - **at_us < window_us).count();
                prop_assert_eq!(try_admit(&mut log, now_us), before < amount as usize);
                if before < amount as usize {
                    admitted.push(now_us);
                    peak = peak.max(before + 1);
                }
                prop_assert_eq!(log.used(now_us) + log.remaining(now_us), amount as usize);
            }
            prop_assert_eq!(log.peak(), peak);
        }
    }
}
