//! Limits of jq programs: number of steps, and time; of one run, and of all elements of a response.

use jaq_core::Error;
use jaq_json::Val;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// Many times what any definition needs for one device.
const STEPS_MAX: u32 = 300_000;
/// For programs whose single steps are slow.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(2);
/// What each element of a response may use, whatever the others used.
const STEPS_PER_ELEMENT: u32 = 5_000;
const TIME_PER_ELEMENT: Duration = Duration::from_millis(5);
/// Further elements add nothing to the limits.
const ELEMENTS_MAX: u32 = 10_000;
/// A response with any number of elements is read for this long. A call's lease outlasts it.
const RESPONSE_TIME_MAX: Duration = Duration::from_secs(10);
/// The clock is read once per this many steps.
const STEPS_PER_CLOCK_CHECK: u32 = 64;

/// What remains of a run's limits.
pub(crate) struct Bounds {
    steps: Cell<u32>,
    until: Cell<Instant>,
    /// Why the run was stopped. A `try` in the program cannot catch this.
    stopped: Cell<Option<&'static str>>,
}

impl Bounds {
    /// Limits of a definition's programs.
    pub(crate) fn usual() -> Self {
        Self::of(STEPS_MAX, TIME_MAX)
    }

    pub(crate) fn of(steps: u32, time: Duration) -> Self {
        Self::until(steps, Instant::now() + time)
    }

    fn until(steps: u32, until: Instant) -> Self {
        Self { steps: Cell::new(steps), until: Cell::new(until), stopped: Cell::new(None) }
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
        } else if steps_left.is_multiple_of(STEPS_PER_CLOCK_CHECK) && Instant::now() > self.until.get() {
            Err(self.stop("the program takes too long"))
        } else {
            Ok(())
        }
    }
}

/// Limits of reading one response. Its elements have a share each, so that any number of them can be read and one that
/// exceeds the limits takes none from the others; beyond its share, an element uses what is left for all.
pub(crate) struct ResponseBounds {
    /// Of the program that yields the elements.
    each: Bounds,
    /// Steps for elements that need more than their share.
    common_steps: Cell<u32>,
    started: Instant,
    elements: Cell<u32>,
}

impl ResponseBounds {
    /// Limits of a definition's programs.
    pub(crate) fn usual() -> Self {
        Self {
            each: Bounds::usual(),
            common_steps: Cell::new(STEPS_MAX),
            started: Instant::now(),
            elements: Cell::new(0),
        }
    }

    /// Limits of the program that yields the elements.
    pub(crate) fn each(&self) -> &Bounds {
        &self.each
    }

    /// Reads the next element, within its limits. An error says that the response has used up its time.
    pub(crate) fn element(&self, read: impl FnOnce(&Bounds)) -> Result<(), &'static str> {
        let began = Instant::now();
        let latest = self.started + RESPONSE_TIME_MAX;
        if began >= latest {
            return Err(self.each.stop("the response takes too long to read"));
        }
        let elements = self.elements.get().saturating_add(1);
        self.elements.set(elements);
        let share = if elements <= ELEMENTS_MAX { STEPS_PER_ELEMENT } else { 0 };
        let for_all = self.started + TIME_MAX + TIME_PER_ELEMENT * elements.min(ELEMENTS_MAX);
        let bounds = Bounds::until(
            self.common_steps.get() + share,
            for_all.max(began + TIME_PER_ELEMENT).min(began + TIME_MAX).min(latest),
        );
        read(&bounds);
        self.common_steps.set(self.common_steps.get().min(bounds.steps.get()));
        // `each` goes on as if no time had passed, and may use a share for its next output.
        self.each.until.set(self.each.until.get() + began.elapsed());
        self.each.steps.set(self.each.steps.get().saturating_add(share));
        Ok(())
    }
}

/// Passes operands of a multiplication; refuses texts, since multiplying repeats them.
pub(crate) fn factor(value: Val) -> Result<Val, Error<Val>> {
    match value {
        Val::TStr(_) | Val::BStr(_) => Err(Error::str("a text cannot be multiplied")),
        other => Ok(other),
    }
}
