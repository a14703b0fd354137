//! What a jq program may spend: steps, and time for those that are long.

use jaq_core::Error;
use jaq_json::Val;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// Ten thousand records take a few of them each.
const STEPS_MAX: u32 = 300_000;
/// For steps that are long.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(2);
/// How often the time is looked at, in steps.
const STEPS_A_LOOK: u32 = 64;

/// What a run may still spend.
pub(crate) struct Bounds {
    steps: Cell<u32>,
    until: Instant,
    /// Why it was stopped. A `try` in the program does not swallow this.
    stopped: Cell<Option<&'static str>>,
}

impl Bounds {
    /// Those of a program of a definition.
    pub(crate) fn usual() -> Self {
        Self::of(STEPS_MAX, TIME_MAX)
    }

    /// So many steps, within so long.
    pub(crate) fn of(steps: u32, time: Duration) -> Self {
        Self { steps: Cell::new(steps), until: Instant::now() + time, stopped: Cell::new(None) }
    }

    /// Why it was stopped, if it was.
    pub(crate) fn stopped(&self) -> Option<&'static str> {
        self.stopped.get()
    }

    /// Stops it.
    pub(crate) fn stop(&self, why: &'static str) -> &'static str {
        self.stopped.set(Some(why));
        why
    }

    /// Takes a step, or says why there is none left. Who was stopped once takes no further one.
    pub(crate) fn step(&self) -> Result<(), &'static str> {
        let left = self.steps.get();
        self.steps.set(left.saturating_sub(1));
        if let Some(why) = self.stopped.get() {
            Err(why)
        } else if left == 0 {
            Err(self.stop("it takes too many steps"))
        } else if left.is_multiple_of(STEPS_A_LOOK) && Instant::now() > self.until {
            Err(self.stop("it takes too long"))
        } else {
            Ok(())
        }
    }
}

/// What may be multiplied: any value but a text, which would be repeated.
pub(crate) fn factor(value: Val) -> Result<Val, Error<Val>> {
    match value {
        Val::TStr(_) | Val::BStr(_) => Err(Error::str("a text is not repeated")),
        other => Ok(other),
    }
}
