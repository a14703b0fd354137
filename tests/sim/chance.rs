//! Chance from a seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub struct Chance(StdRng);

impl Chance {
    /// Streams of one seed are apart, so that leaving out what one of them decides changes no other.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(StdRng::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ stream))
    }

    /// Whether something of this probability happens.
    pub fn hits(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability)
    }

    /// From `least` to `most`, both included.
    pub fn within(&mut self, least: i64, most: i64) -> i64 {
        self.0.random_range(least..=most.max(least))
    }

    pub fn share(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.0.random::<f64>()
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.random_range(0..from.len())]
    }
}
