//! How often jobs whose grids meet are due at different instants.

/// Beyond so many intervals of which none is a multiple of another, those that are left count as though they never met.
const EXACT_MAX: usize = 8;

/// Past this, ms, two grids meet so rarely that it does not matter.
const NEVER_MS: u64 = 1 << 50;

/// Distinct due instants a ms of jobs that share an offset (see `schedule::offset_ms`), from their intervals in ms.
///
/// All grids hold one common instant, so that those of several jobs meet every least common multiple of their
/// intervals, and the instants of all are counted by inclusion and exclusion.
pub(super) fn instants_per_ms(intervals_ms: &mut Vec<u64>) -> f64 {
    intervals_ms.sort_unstable();
    intervals_ms.dedup();
    let mut own: Vec<u64> = Vec::new();
    for &interval in intervals_ms.iter() {
        // The grid of 30 s lies on that of 10 s.
        if own.iter().all(|shorter| interval % shorter != 0) {
            own.push(interval);
        }
    }
    let (exact, rest) = own.split_at(own.len().min(EXACT_MAX));
    let apart: f64 = rest.iter().map(|ms| 1.0 / *ms as f64).sum();
    apart + union(exact, 1, 1.0)
}

/// The share of instants on any of the grids, of those on the grid of `met`: the sum over all choices of grids.
fn union(grids: &[u64], met: u64, sign: f64) -> f64 {
    let mut sum = 0.0;
    for (at, grid) in grids.iter().enumerate() {
        let both = lcm(met, *grid);
        if both < NEVER_MS {
            sum += sign / both as f64 + union(&grids[at + 1..], both, -sign);
        }
    }
    sum
}

fn lcm(a: u64, b: u64) -> u64 {
    (a / gcd(a, b)).saturating_mul(b)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted one by one over a time in which every pattern repeats.
    fn counted(intervals: &[u64], span: u64) -> f64 {
        (0..span).filter(|at| intervals.iter().any(|ms| at % ms == 0)).count() as f64 / span as f64
    }

    #[test]
    fn instants_are_counted_once() {
        for (intervals, span) in [
            (vec![10, 30, 60], 60),
            (vec![30, 40], 120),
            (vec![4, 6, 10], 60),
            (vec![7, 7, 7], 7),
            (vec![6, 10, 15], 30),
        ] {
            let found = instants_per_ms(&mut intervals.clone());
            assert!((found - counted(&intervals, span)).abs() < 1e-12, "{intervals:?}: {found}");
        }
    }

    #[test]
    fn many_intervals_are_an_upper_bound_and_quick() {
        let mut primes = vec![1_009, 1_013, 1_019, 1_021, 1_031, 1_033, 1_039, 1_049, 1_051, 1_061, 1_063];
        let sum: f64 = primes.iter().map(|ms| 1.0 / *ms as f64).sum();
        let found = instants_per_ms(&mut primes);
        assert!(found < sum && found > 0.98 * sum, "{found} of {sum}");
    }
}
