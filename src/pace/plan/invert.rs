//! Numeric inversion of a rising function.

/// Bound of the iterations; a piecewise linear function takes about ten.
const STEPS_MAX: u32 = 200;

/// Finds the largest `x` in `0..=max` at which `rising(x)` is not above `target`, to about twelve digits.
///
/// Regula falsi with the Illinois correction; every third step bisects, so that no kink can slow it down.
pub(super) fn invert(max: f64, target: f64, rising: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, max);
    let (mut under, mut over) = (-target, rising(max) - target);
    if over <= 0.0 {
        return max;
    }
    let mut was_above = None;
    for step in 0..STEPS_MAX {
        if high - low <= 1e-13 * high {
            break;
        }
        let x = match step % 3 {
            // If the magnitudes differ much, bisect the magnitudes.
            2 if low > 0.0 && high > 4.0 * low => (low * high).sqrt(),
            2 => low.midpoint(high),
            _ => low - under * (high - low) / (over - under),
        };
        let x = x.clamp(low, high);
        let error = rising(x) - target;
        let above = error > 0.0;
        // Illinois: an end that stays twice counts half, or it would slow the convergence.
        let stays = was_above == Some(above);
        match above {
            true => (high, over, under) = (x, error, if stays { under / 2.0 } else { under }),
            false => (low, under, over) = (x, error, if stays { over / 2.0 } else { over }),
        }
        was_above = Some(above);
        if !above && -error <= 1e-13 * target {
            break;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverts_functions_with_kinks_and_large_magnitudes() {
        let kinked = |x: f64| x.min(3.0) + (x * 1e-6).min(2.0);
        for height in [1e-9, 1.0, 3.5, 4.999] {
            let x = invert(1e9, height, kinked);
            assert!((kinked(x) - height).abs() <= 1e-9 * height, "{height}: {x}");
            assert!(kinked(x) <= height, "{height}: {x}");
        }
        assert_eq!(invert(10.0, 100.0, kinked), 10.0);
    }
}
