//! Where a rising curve reaches a height.

/// Steps at most; a kinked line takes about ten.
const STEPS_MAX: u32 = 200;

/// The largest found `x` in `0..=top` at which `rising(x)` is not above `height`, to about twelve digits.
///
/// Regula falsi with the Illinois correction; every third step halves instead, so that no kink can slow it down.
pub(super) fn reach(top: f64, height: f64, rising: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, top);
    let (mut under, mut over) = (-height, rising(top) - height);
    if over <= 0.0 {
        return top;
    }
    let mut was_above = None;
    for step in 0..STEPS_MAX {
        if high - low <= 1e-13 * high {
            break;
        }
        let x = match step % 3 {
            // Between magnitudes that differ much, the middle of the magnitudes.
            2 if low > 0.0 && high > 4.0 * low => (low * high).sqrt(),
            2 => low.midpoint(high),
            _ => low - under * (high - low) / (over - under),
        };
        let x = x.clamp(low, high);
        let found = rising(x) - height;
        let above = found > 0.0;
        // An end that stays twice counts for half: it would hold the line back.
        let stays = was_above == Some(above);
        match above {
            true => (high, over, under) = (x, found, if stays { under / 2.0 } else { under }),
            false => (low, under, over) = (x, found, if stays { over / 2.0 } else { over }),
        }
        was_above = Some(above);
        if !above && -found <= 1e-13 * height {
            break;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinks_and_magnitudes_are_no_matter() {
        let kinked = |x: f64| x.min(3.0) + (x * 1e-6).min(2.0);
        for height in [1e-9, 1.0, 3.5, 4.999] {
            let x = reach(1e9, height, kinked);
            assert!((kinked(x) - height).abs() <= 1e-9 * height, "{height}: {x}");
            assert!(kinked(x) <= height, "{height}: {x}");
        }
        assert_eq!(reach(10.0, 100.0, kinked), 10.0);
    }
}
