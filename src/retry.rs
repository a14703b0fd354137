//! How long to wait before trying again. The only file that uses the unmaintained crate `backoff`.

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use rand::{Rng, RngExt};
use std::time::Duration;

/// Exponential back-off with full jitter: the n-th wait is uniform in `0..=min(cap, base · 2^n)`.
///
/// Full jitter best spreads clients that failed together: Brooker, "Exponential Backoff And Jitter", AWS 2015.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// The bound of the first wait.
    pub base: Duration,
    /// The bound of every wait.
    pub cap: Duration,
}

impl Retry {
    /// The bound of the wait when `failures` came before this one.
    pub fn bound(&self, failures: u32) -> Duration {
        let mut backoff = ExponentialBackoff {
            current_interval: self.base,
            initial_interval: self.base,
            multiplier: 2.0,
            max_interval: self.cap,
            randomization_factor: 0.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        // 2^40 times any base is past any cap.
        let waits = (0..=failures.min(40)).map_while(|_| backoff.next_backoff());
        waits.last().unwrap_or(self.cap).min(self.cap)
    }

    /// A wait when `failures` came before this one.
    pub fn wait(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        self.bound(failures).mul_f64(rng.random_range(0.0..=1.0))
    }

    /// A wait of at least half its bound: for what must not come back at once, however often it failed.
    pub fn jittered(&self, failures: u32, rng: &mut impl Rng) -> Duration {
        self.bound(failures) / 2 + self.wait(failures, rng) / 2
    }
}

/// Waits between attempts to reach a server again.
pub const RECONNECT: Retry = Retry { base: Duration::from_millis(200), cap: Duration::from_secs(5) };

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn doubles_up_to_its_cap_and_jitters_below() {
        let retry = Retry { base: Duration::from_secs(1), cap: Duration::from_secs(60) };
        let bounds: Vec<_> = [0, 1, 2, 5, 6, 1000].map(|n| retry.bound(n).as_secs()).into();
        assert_eq!(bounds, [1, 2, 4, 32, 60, 60]);
        let mut rng = rand::rngs::StdRng::seed_from_u64(7);
        let waits: Vec<_> = (0..200).map(|_| retry.wait(3, &mut rng)).collect();
        assert!(waits.iter().all(|w| *w <= Duration::from_secs(8)));
        assert!(waits.iter().any(|w| *w < Duration::from_secs(2)));
        assert!(waits.iter().any(|w| *w > Duration::from_secs(6)));
    }
}
