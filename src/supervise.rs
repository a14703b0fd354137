//! Restarts long-lived tasks that panic, and ends the process when one keeps panicking: a task that is gone without a
//! word would stall a provider, or trust revoked keys.

use crate::retry::Retry;
use futures::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// When to restart a task, and when to give up.
#[derive(Debug, Clone, Copy)]
pub struct RestartPolicy {
    /// The delays between a panic and the restart: its bounds, without jitter.
    pub delay: Retry,
    /// So many panics in a row are too many.
    pub panics_max: u32,
    /// A task that ran this long without a panic starts a new row.
    pub forget_after: Duration,
}

impl Default for RestartPolicy {
    /// Gives up about a quarter of a minute after the first panic of a task that cannot start.
    fn default() -> Self {
        Self {
            delay: Retry { base: Duration::from_secs(1), cap: Duration::from_secs(30) },
            panics_max: 5,
            forget_after: Duration::from_secs(10 * 60),
        }
    }
}

/// What follows a panic.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    RestartAfter(Duration),
    GiveUp,
}

impl RestartPolicy {
    /// How many panics in a row there are now, after a run of this length.
    fn in_a_row(&self, before: u32, ran: Duration) -> u32 {
        if ran >= self.forget_after { 1 } else { before.saturating_add(1) }
    }

    fn decide(&self, in_a_row: u32) -> Decision {
        match in_a_row >= self.panics_max {
            true => Decision::GiveUp,
            false => Decision::RestartAfter(self.delay.bound(in_a_row.saturating_sub(1))),
        }
    }
}

/// A task that the process cannot do without has failed for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task `{task}` failed for good: {reason}; the process ends, so that it is started anew")]
pub struct GaveUp {
    /// Its name.
    pub task: String,
    /// What happened last.
    pub reason: String,
}

/// Runs the long-lived tasks of a process. Clones share the count and the outcome.
#[derive(Debug, Clone)]
pub struct Supervisor {
    policy: RestartPolicy,
    panics: Arc<AtomicU64>,
    gave_up: watch::Sender<Option<GaveUp>>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new(RestartPolicy::default())
    }
}

impl Supervisor {
    /// A supervisor that follows this policy.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, panics: Arc::default(), gave_up: watch::Sender::new(None) }
    }

    /// Runs a task until it returns, and starts it again when it panics. Returns early only when it gives up, which
    /// [`Supervisor::gave_up`] reports.
    ///
    /// A stop cuts the delay short: the task is started once more, to end in good order.
    pub async fn run<F: Future<Output = ()>>(
        &self,
        task: &str,
        stop: &CancellationToken,
        mut start: impl FnMut() -> F,
    ) {
        let mut in_a_row = 0;
        loop {
            let (stopping, began) = (stop.is_cancelled(), Instant::now());
            let Err(panic) = self.catch(async { start().await }).await else { return };
            in_a_row = self.policy.in_a_row(in_a_row, began.elapsed());
            let panics = self.panics();
            match self.policy.decide(in_a_row) {
                _ if stopping => {
                    tracing::error!(task, panic, panics, "task panicked while stopping");
                    return;
                }
                Decision::RestartAfter(delay) => {
                    let restart_in_ms = delay.as_millis() as u64;
                    tracing::error!(task, panic, panics, restart_in_ms, "task panicked; restarting it");
                    stop.run_until_cancelled(sleep(delay)).await;
                }
                Decision::GiveUp => {
                    return self
                        .give_up(task, format!("it panicked {in_a_row} times in a row, last with: {panic}"));
                }
            }
        }
    }

    /// Runs a task that is not started again; `None`, and an error in the log, when it panics.
    pub async fn once<T>(&self, task: &str, work: impl Future<Output = T>) -> Option<T> {
        match self.catch(work).await {
            Ok(done) => Some(done),
            Err(panic) => {
                tracing::error!(task, panic, panics = self.panics(), "task panicked");
                None
            }
        }
    }

    /// Ends the process for the sake of this task. The first call counts.
    pub fn give_up(&self, task: &str, reason: String) {
        let failure = GaveUp { task: task.to_owned(), reason };
        self.gave_up.send_if_modified(|known| {
            let is_first = known.is_none();
            known.get_or_insert(failure);
            is_first
        });
    }

    /// Waits until a task has failed for good.
    pub async fn gave_up(&self) -> GaveUp {
        let mut outcome = self.gave_up.subscribe();
        loop {
            if let Some(failure) = outcome.borrow_and_update().clone() {
                return failure;
            }
            // Never closed: the sender lives in `self`.
            drop(outcome.changed().await);
        }
    }

    /// How many panics there were since the process started.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Runs it; a panic becomes its message, and is counted.
    async fn catch<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        // What a panic left half done is what a crash of the process leaves, too: every task copes with that.
        AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
            self.panics.fetch_add(1, Ordering::Relaxed);
            message(&*panic)
        })
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const TIMEOUT: Duration = Duration::from_secs(20);
    const QUICK: RestartPolicy = RestartPolicy {
        delay: Retry { base: Duration::from_millis(1), cap: Duration::from_millis(4) },
        panics_max: 4,
        forget_after: Duration::from_secs(600),
    };

    #[test]
    fn delays_grow_until_it_gives_up() {
        let decisions: Vec<_> = (1..=4).map(|n| QUICK.decide(n)).collect();
        let after = |ms| Decision::RestartAfter(Duration::from_millis(ms));
        assert_eq!(decisions, [after(1), after(2), after(4), Decision::GiveUp]);
    }

    #[test]
    fn long_run_starts_a_new_row() {
        assert_eq!(QUICK.in_a_row(3, Duration::from_secs(599)), 4);
        assert_eq!(QUICK.in_a_row(3, Duration::from_secs(600)), 1);
    }

    #[tokio::test]
    async fn task_that_panics_once_is_restarted() {
        let (supervisor, stop, mut starts) = (Supervisor::new(QUICK), CancellationToken::new(), 0);
        let task = supervisor.run("loop", &stop, || {
            starts += 1;
            let start = starts;
            async move { assert!(start > 1, "the first run") }
        });
        timeout(TIMEOUT, task).await.unwrap();
        assert_eq!((starts, supervisor.panics()), (2, 1));
    }

    #[tokio::test]
    async fn task_that_always_panics_is_given_up() {
        let supervisor = Supervisor::new(QUICK);
        let stop = CancellationToken::new();
        let task = supervisor.run("loop", &stop, || async { panic!("it cannot work") });
        timeout(TIMEOUT, task).await.unwrap();
        let failure = timeout(TIMEOUT, supervisor.gave_up()).await.unwrap();
        let sentence = failure.to_string();
        assert!(sentence.contains("`loop`") && sentence.contains("4 times"), "{sentence}");
        assert!(sentence.contains("it cannot work"), "{sentence}");
        supervisor.give_up("other", "later".to_owned());
        assert_eq!(supervisor.gave_up().await, failure);
    }

    #[tokio::test]
    async fn stop_cuts_the_delay_and_starts_the_task_once_more() {
        let slow = RestartPolicy { delay: Retry { base: TIMEOUT * 9, cap: TIMEOUT * 9 }, ..QUICK };
        let (supervisor, stop, mut starts) = (Supervisor::new(slow), CancellationToken::new(), 0);
        let task = supervisor.run("loop", &stop, || {
            starts += 1;
            stop.cancel();
            async { panic!("again") }
        });
        timeout(TIMEOUT, task).await.unwrap();
        assert_eq!(starts, 2);
    }
}
