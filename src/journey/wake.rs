//! When to look again: the earliest instant that anybody has named.

use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// One sleeper, any number who wake it.
#[derive(Default)]
pub(super) struct Wake {
    earliest: Mutex<Option<Instant>>,
    sooner: Notify,
}

impl Wake {
    /// There is something to do at this instant.
    pub(super) fn at(&self, at: Instant) {
        let mut earliest = self.earliest.lock().unwrap_or_else(PoisonError::into_inner);
        if earliest.is_none_or(|known| at < known) {
            *earliest = Some(at);
            self.sooner.notify_one();
        }
    }

    /// What was named before is looked at now.
    pub(super) fn clear(&self) {
        *self.earliest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sleeps until then, or until the earliest instant that was named since the last [`Wake::clear`].
    pub(super) async fn sleep(&self, until: Instant) {
        loop {
            let named = *self.earliest.lock().unwrap_or_else(PoisonError::into_inner);
            let until = named.map_or(until, |named| named.min(until));
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.sooner.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn the_earliest_instant_wakes() {
        let (wake, begun) = (Wake::default(), Instant::now());
        let ms = |ms| begun + Duration::from_millis(ms);
        wake.at(ms(300));
        wake.at(ms(200));
        wake.at(ms(400));
        wake.sleep(ms(1_000)).await;
        assert_eq!(Instant::now(), ms(200));
        wake.clear();
        tokio::join!(wake.sleep(ms(1_000)), async {
            sleep_until(ms(500)).await;
            wake.at(ms(600));
        });
        assert_eq!(Instant::now(), ms(600));
        wake.clear();
        wake.sleep(ms(700)).await;
        assert_eq!(Instant::now(), ms(700));
    }
}
