//! The rate of distinct due instants of jobs whose grids coincide in part.

/// Bound of the exact count: intervals beyond this number (multiples of others excluded) count as if they never
/// coincided.
const EXACT_MAX: usize = 8;

/// Grids that coincide less often than this, ms, count as never coinciding.
const NEVER_MS: u64 = 1 << 50;

/// Distinct due instants per ms of jobs that share an offset (see `schedule::offset_ms`), from their intervals in ms.
///
/// All grids have one common instant, so several grids coincide once per least common multiple of their intervals, and
/// inclusion-exclusion counts the distinct instants.
pub(super) fn instants_per_ms(intervals_ms: &mut Vec<u64>) -> f64 {
    intervals_ms.sort_unstable();
    intervals_ms.dedup();
    let mut distinct: Vec<u64> = Vec::new();
    for &interval in intervals_ms.iter() {
        // The grid of 30 s is part of the grid of 10 s.
        if distinct.iter().all(|shorter| interval % shorter != 0) {
            distinct.push(interval);
        }
    }
    let (exact, rest) = distinct.split_at(distinct.len().min(EXACT_MAX));
    let separate: f64 = rest.iter().map(|ms| 1.0 / *ms as f64).sum();
    separate + union(exact, 1, 1.0)
}

/// Instants per ms that lie on the grid of `common_ms` and on any of `grids`, by inclusion-exclusion over all subsets.
fn union(grids: &[u64], common_ms: u64, sign: f64) -> f64 {
    let mut sum = 0.0;
    for (at, grid) in grids.iter().enumerate() {
        let both = lcm(common_ms, *grid);
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

    /// Counts every instant over a span after which the pattern repeats.
    fn counted(intervals: &[u64], span: u64) -> f64 {
        (0..span).filter(|at| intervals.iter().any(|ms| at % ms == 0)).count() as f64 / span as f64
    }

    #[test]
    fn coinciding_instants_count_once() {
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
    fn many_intervals_yield_an_upper_bound_quickly() {
        let mut primes = vec![1_009, 1_013, 1_019, 1_021, 1_031, 1_033, 1_039, 1_049, 1_051, 1_061, 1_063];
        let sum: f64 = primes.iter().map(|ms| 1.0 / *ms as f64).sum();
        let found = instants_per_ms(&mut primes);
        assert!(found < sum && found > 0.98 * sum, "{found} of {sum}");
    }
}
