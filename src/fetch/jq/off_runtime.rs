//! Keeps slow jq programs off the threads of the async runtime.

use std::num::NonZero;
use std::thread::available_parallelism;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

/// Limits one provider's work off the runtime to one task per CPU, so that a program that needs its two seconds for
/// every response blocks neither the runtime nor other providers.
pub(crate) struct OffRuntime {
    permits: Semaphore,
}

impl Default for OffRuntime {
    fn default() -> Self {
        Self { permits: Semaphore::new(available_parallelism().map_or(1, NonZero::get)) }
    }
}

impl OffRuntime {
    /// Runs work that may take as long as a program may. `is_light`: the work is too short to be worth moving the
    /// runtime's tasks to another thread, so it is run in place.
    pub(crate) async fn run<T>(&self, is_light: bool, work: impl FnOnce() -> T) -> T {
        // A single-threaded runtime, as in tests and single commands, has no other thread to move its tasks to.
        if is_light || Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread {
            return work();
        }
        // An error means that the semaphore is closed, which it never is.
        let _permit = self.permits.acquire().await;
        block_in_place(work)
    }
}
