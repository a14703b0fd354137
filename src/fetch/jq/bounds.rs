//! Limits of a jq program: number of steps, and time.

use jaq_core::Error;
use jaq_json::Val;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// A few steps for each of ten thousand records.
const STEPS_MAX: u32 = 300_000;
/// For programs whose single steps are slow.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(2);
/// The clock is read once per this many steps.
const STEPS_PER_CLOCK_CHECK: u32 = 64;

/// What remains of a run's limits.
pub(crate) struct Bounds {
    steps: Cell<u32>,
    until: Instant,
    /// Why the run was stopped. A `try` in the program cannot catch this.
    stopped: Cell<Option<&'static str>>,
}

impl Bounds {
    /// Limits of a definition's programs.
    pub(crate) fn usual() -> Self {
        Self::of(STEPS_MAX, TIME_MAX)
    }

    pub(crate) fn of(steps: u32, time: Duration) -> Self {
        Self { steps: Cell::new(steps), until: Instant::now() + time, stopped: Cell::new(None) }
    }

    /// Why the run was stopped, if it was.
    pub(crate) fn stopped(&self) -> Option<&'static str> {
        self.stopped.get()
    }

    /// Stops the run.
    pub(crate) fn stop(&self, reason: &'static str) -> &'static str {
        self.stopped.set(Some(reason));
        reason
    }

    /// Counts a step; an error if the run is stopped or exceeds a limit, which stops it.
    pub(crate) fn step(&self) -> Result<(), &'static str> {
        let steps_left = self.steps.get();
        self.steps.set(steps_left.saturating_sub(1));
        if let Some(reason) = self.stopped.get() {
            Err(reason)
        } else if steps_left == 0 {
            Err(self.stop("the program takes too many steps"))
        } else if steps_left.is_multiple_of(STEPS_PER_CLOCK_CHECK) && Instant::now() > self.until {
            Err(self.stop("the program takes too long"))
        } else {
            Ok(())
        }
    }
}

/// Passes operands of a multiplication; refuses texts, since multiplying repeats them.
pub(crate) fn factor(value: Val) -> Result<Val, Error<Val>> {
    match value {
        Val::TStr(_) | Val::BStr(_) => Err(Error::str("a text cannot be multiplied")),
        other => Ok(other),
    }
}
