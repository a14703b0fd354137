//! How much one answer may hold, and which step fits. Pure.

use crate::words::series::Level;
use crate::words::{Interval, UnixMs, duration_text};

/// The longest step, and the longest that a refusal proposes.
const STEP_MAX_MS: i64 = 31 * 86_400_000;

/// So many values a point may have in an answer of as many points as there may be; in a shorter one, more.
const VALUES_OF_A_POINT: usize = 16;

/// Steps that people choose, ms.
const STEPS: [i64; 20] = [
    1_000,
    5_000,
    10_000,
    15_000,
    30_000,
    60_000,
    120_000,
    300_000,
    600_000,
    900_000,
    1_800_000,
    3_600_000,
    7_200_000,
    10_800_000,
    21_600_000,
    43_200_000,
    86_400_000,
    604_800_000,
    1_209_600_000,
    STEP_MAX_MS,
];

/// A time and the length of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its beginning.
    pub from: UnixMs,
    /// Its end, which is not of it.
    pub to: UnixMs,
    /// The length of its steps, ms.
    pub step_ms: i64,
}

/// What an answer may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Points.
    pub points_max: usize,
}

/// Why a window is refused. The text says which step fits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooManyPoints {
    /// A longer step would do.
    #[error("{asked} points are too many: an answer has at most {max}; step={fits} fits")]
    Fits {
        /// As asked.
        asked: i64,
        /// The most.
        max: usize,
        /// A step that fits.
        fits: String,
    },
    /// No step would do.
    #[error(
        "an answer has at most {max} points, which no step reaches; ask for a shorter time or fewer devices"
    )]
    Never {
        /// The most.
        max: usize,
    },
    /// Each point would have too many values.
    #[error(
        "points of {names} values are too many: an answer has at most {max} values; name those that you need, or use a \
         longer step"
    )]
    Wide {
        /// Values of a point.
        names: usize,
        /// The most.
        max: usize,
    },
    /// Steps of which neither a roll-up nor few readings can be the source.
    #[error("a step of five minutes or more must be a multiple of 5m; step={fits} fits")]
    Uneven {
        /// A step that fits.
        fits: String,
    },
    /// Longer than any.
    #[error("the longest step is {}", Interval::MAX)]
    Long,
}

impl Bounds {
    /// Whether so many devices' steps fit into an answer.
    pub fn check(&self, window: Window, devices: usize) -> Result<(), TooManyPoints> {
        let Window { step_ms, .. } = window;
        if step_ms > STEP_MAX_MS {
            return Err(TooManyPoints::Long);
        }
        let asked = window.points(devices);
        if asked > self.max() {
            return Err(self.refusal(window, devices));
        }
        let shortest = Level::FiveMinutes.ms();
        if step_ms > shortest && step_ms % shortest != 0 {
            let up = (step_ms / shortest + 1) * shortest;
            return Err(TooManyPoints::Uneven { fits: text(up.min(STEP_MAX_MS)) });
        }
        Ok(())
    }

    /// Whether the answer fits if each point has so many values.
    pub fn check_width(&self, window: Window, devices: usize, names: usize) -> Result<(), TooManyPoints> {
        let max = self.points_max.saturating_mul(VALUES_OF_A_POINT);
        let points = usize::try_from(window.points(devices)).unwrap_or(usize::MAX);
        if points.saturating_mul(names) > max {
            return Err(TooManyPoints::Wide { names, max });
        }
        Ok(())
    }

    fn max(&self) -> i64 {
        i64::try_from(self.points_max).unwrap_or(i64::MAX)
    }

    fn refusal(&self, window: Window, devices: usize) -> TooManyPoints {
        let fits = STEPS.into_iter().find(|step_ms| {
            *step_ms > window.step_ms && Window { step_ms: *step_ms, ..window }.points(devices) <= self.max()
        });
        match fits {
            Some(step_ms) => TooManyPoints::Fits {
                asked: window.points(devices),
                max: self.points_max,
                fits: text(step_ms),
            },
            None => TooManyPoints::Never { max: self.points_max },
        }
    }
}

impl Window {
    /// The steps that it reaches into, of all devices.
    fn points(self, devices: usize) -> i64 {
        let Self { from, to, step_ms } = self;
        let (first, end) = (from.0.div_euclid(step_ms), to.plus_ms(step_ms - 1).0.div_euclid(step_ms));
        end.saturating_sub(first).saturating_mul(i64::try_from(devices).unwrap_or(i64::MAX))
    }
}

fn text(step_ms: i64) -> String {
    duration_text(step_ms.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_MS: i64 = 365 * 86_400_000;
    const BOUNDS: Bounds = Bounds { points_max: 10_000 };

    fn check(length_ms: i64, step_ms: i64, devices: usize) -> Result<(), String> {
        let from = UnixMs(1_767_225_600_000);
        let window = Window { from, to: from.plus_ms(length_ms), step_ms };
        BOUNDS.check(window, devices).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn refusal_names_a_step_that_is_accepted() {
        for (length_ms, step_ms, devices) in [
            (YEAR_MS, 1, 1),
            (YEAR_MS, 60_000, 1),
            (86_400_000, 1_000, 1),
            (86_400_000, 300_000, 500),
            (1, 1, 9_999),
        ] {
            let Err(refusal) = check(length_ms, step_ms, devices) else { continue };
            let fits = refusal.rsplit("step=").next().unwrap().trim_end_matches(" fits");
            let fits = fits.parse::<Interval>().unwrap_or_else(|_| panic!("{refusal}"));
            check(length_ms, fits.as_ms().cast_signed(), devices).unwrap();
        }
        assert!(check(YEAR_MS, 1, 1).unwrap_err().contains("31536000000 points"));
        assert!(check(YEAR_MS, 1, 1).unwrap_err().ends_with("step=1h fits"));
    }

    #[test]
    fn points_of_many_values_are_fewer() {
        let window = Window { from: UnixMs(0), to: UnixMs(10_000_000), step_ms: 1_000 };
        assert_eq!(BOUNDS.check_width(window, 1, 16), Ok(()));
        assert!(BOUNDS.check_width(window, 1, 17).unwrap_err().to_string().contains("name those"));
        assert_eq!(BOUNDS.check_width(Window { step_ms: 10_000, ..window }, 1, 160), Ok(()));
    }

    #[test]
    fn steps_between_roll_ups_are_refused() {
        assert!(check(86_400_000, 420_000, 1).unwrap_err().contains("step=10m fits"));
        for step_ms in [1, 7_000, 299_000, 300_000, 3_900_000, 86_400_000] {
            let fits = check(step_ms * 100, step_ms, 1);
            assert_eq!(fits, Ok(()), "{step_ms}");
        }
        assert!(check(YEAR_MS * 40, YEAR_MS, 1).unwrap_err().contains("31days"));
        assert!(check(YEAR_MS * 9_000, 86_400_000, 10_000).unwrap_err().contains("shorter time"));
    }
}
