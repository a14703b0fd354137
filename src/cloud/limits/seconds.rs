//! Requests per second of the last minute.

use std::collections::VecDeque;

use serde::Serialize;

const HISTORY_LEN: usize = 60;
const SECOND_US: i64 = 1_000_000;

/// Counts per whole second of the clock.
#[derive(Debug)]
pub(crate) struct Seconds {
    second: i64,
    count: u32,
    peak: u32,
    /// Complete seconds, oldest first.
    past: VecDeque<u32>,
}

/// As the referee reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct PerSecond {
    /// In the last complete second.
    last: u32,
    /// The most in any second since the start.
    peak: u32,
    /// In each of the last complete seconds, oldest first; at most 60.
    history: Vec<u32>,
}

impl Seconds {
    pub(crate) fn new(now_us: i64) -> Self {
        Self {
            second: now_us.div_euclid(SECOND_US),
            count: 0,
            peak: 0,
            past: VecDeque::with_capacity(HISTORY_LEN),
        }
    }

    pub(crate) fn count(&mut self, now_us: i64) {
        self.advance(now_us);
        self.count += 1;
        self.peak = self.peak.max(self.count);
    }

    pub(crate) fn read(&mut self, now_us: i64) -> PerSecond {
        self.advance(now_us);
        PerSecond {
            last: self.past.back().copied().unwrap_or(0),
            peak: self.peak,
            history: self.past.iter().copied().collect(),
        }
    }

    /// Completes the seconds that have passed; at most as many as the history keeps.
    fn advance(&mut self, now_us: i64) {
        let second = now_us.div_euclid(SECOND_US);
        let passed = (second - self.second).clamp(0, HISTORY_LEN as i64 + 1);
        for _ in 0..passed {
            if self.past.len() == HISTORY_LEN {
                self.past.pop_front();
            }
            self.past.push_back(std::mem::take(&mut self.count));
        }
        self.second = second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_has_complete_seconds_and_zeros_for_idle_ones() {
        let mut seconds = Seconds::new(0);
        [10, 20, SECOND_US, 4 * SECOND_US].into_iter().for_each(|at_us| seconds.count(at_us));
        assert_eq!(seconds.read(4 * SECOND_US), PerSecond { last: 0, peak: 2, history: vec![2, 1, 0, 0] });
        assert_eq!(seconds.read(5 * SECOND_US).last, 1);
    }

    #[test]
    fn history_is_limited_to_a_minute() {
        let mut seconds = Seconds::new(0);
        seconds.count(0);
        assert_eq!(seconds.read(1_000 * SECOND_US), PerSecond { last: 0, peak: 1, history: vec![0; 60] });
    }
}
