//! When to pull again: the earliest requested instant.

use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// One sleeper, any number of wakers.
#[derive(Default)]
pub(super) struct Wake {
    earliest: Mutex<Option<Instant>>,
    sooner: Notify,
}

impl Wake {
    /// Requests a wake-up at this instant.
    pub(super) fn at(&self, at: Instant) {
        let mut earliest = self.earliest.lock().unwrap_or_else(PoisonError::into_inner);
        if earliest.is_none_or(|earliest| at < earliest) {
            *earliest = Some(at);
            self.sooner.notify_one();
        }
    }

    /// Forgets earlier requests: the caller is awake.
    pub(super) fn clear(&self) {
        *self.earliest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sleeps until then, or until the earliest instant requested since the last [`Wake::clear`].
    pub(super) async fn sleep(&self, until: Instant) {
        loop {
            let requested = *self.earliest.lock().unwrap_or_else(PoisonError::into_inner);
            let until = requested.map_or(until, |requested| requested.min(until));
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
    use tokio::time::timeout;

    const FAR: Duration = Duration::from_secs(600);

    /// Whether it wakes long before the end of its sleep.
    async fn wakes(wake: &Wake) -> bool {
        timeout(Duration::from_secs(20), wake.sleep(Instant::now() + FAR)).await.is_ok()
    }

    #[tokio::test]
    async fn earliest_request_wakes() {
        let wake = Wake::default();
        let now = Instant::now();
        wake.at(now + FAR);
        wake.at(now + Duration::from_millis(5));
        wake.at(now + FAR * 2);
        assert!(wakes(&wake).await);
        assert!(Instant::now() >= now + Duration::from_millis(5));
    }

    #[tokio::test]
    async fn request_during_sleep_wakes() {
        let wake = Wake::default();
        let (woke, ()) = tokio::join!(wakes(&wake), async {
            tokio::task::yield_now().await;
            wake.at(Instant::now());
        });
        assert!(woke);
        wake.clear();
        wake.sleep(Instant::now() + Duration::from_millis(5)).await;
    }
}
