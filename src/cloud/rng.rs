//! Stateless random numbers: every draw is a hash of its purpose.
//!
//! An ordinary RNG would have to be stored per device and replayed up to now. A hash gives the draw of any device at
//! any instant, and does not change with the version of a crate.

use std::f64::consts::PI;

/// A node in the tree of draws: from the seed to an account, a device, a day, a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The key of a child node. Different branches give independent draws.
    pub(super) fn with(self, branch: u64) -> Self {
        Self(mix(self.0 ^ mix(branch)))
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn unit(self) -> f64 {
        // 53 bits: an f64 holds them exactly, so that the result never rounds up to 1.
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `[low, high)`.
    pub(super) fn between(self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(super) fn below(self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }

    pub(super) fn pick<T: Copy>(self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Smooth noise in `[-1, 1]`: a new random value every period, joined by cosine interpolation.
    pub(super) fn wave(self, at_ms: i64, period_ms: i64) -> f64 {
        let step = at_ms.div_euclid(period_ms);
        let part = at_ms.rem_euclid(period_ms) as f64 / period_ms as f64;
        let from = self.with(step as u64).between(-1.0, 1.0);
        let to = self.with((step + 1) as u64).between(-1.0, 1.0);
        from + (to - from) * (1.0 - (part * PI).cos()) / 2.0
    }

    /// Maps numbers one to one, so that neighbours look unrelated: a Feistel network.
    pub(super) fn scramble(self, number: u32) -> u32 {
        let (mut left, mut right) = halves(number);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        joined(left, right)
    }

    /// The inverse of [`Key::scramble`].
    pub(super) fn unscramble(self, number: u32) -> u32 {
        let (mut left, mut right) = halves(number);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        joined(left, right)
    }

    fn round(self, round: u64, half: u16) -> u16 {
        self.with(round << 16 | u64::from(half)).bits() as u16
    }
}

const ROUNDS: u64 = 4;

fn halves(number: u32) -> (u16, u16) {
    ((number >> 16) as u16, number as u16)
}

fn joined(left: u16, right: u16) -> u32 {
    u32::from(left) << 16 | u32::from(right)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014), with its increment so that zero does not stay zero.
fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unscramble_inverts_scramble() {
        let key = Key::new(7);
        for number in (0..10_000).chain([u32::MAX - 1, u32::MAX]) {
            assert_eq!(key.unscramble(key.scramble(number)), number);
        }
    }

    #[test]
    fn draws_are_uniform() {
        let mut tenths = [0; 10];
        (0..10_000).for_each(|n| tenths[Key::new(1).with(n).below(10)] += 1);
        assert!(tenths.iter().all(|count| (900..1_100).contains(count)), "{tenths:?}");
    }

    #[test]
    fn wave_is_bounded_and_continuous() {
        let key = Key::new(3);
        let heights: Vec<f64> = (0..100_000).map(|ms| key.wave(ms, 1_000)).collect();
        assert!(heights.iter().all(|height| height.abs() <= 1.0));
        assert!(heights.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 0.01));
    }
}
