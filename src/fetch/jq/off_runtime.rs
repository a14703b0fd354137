//! Keeps jq programs that may take long off the threads of the async runtime.

use std::num::NonZero;
use std::thread::available_parallelism;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

/// The work of one provider that is off the runtime: at most as much at a time as there are CPUs, so that a program
/// that burns its two seconds on every answer holds up neither the runtime nor other providers.
pub(crate) struct OffRuntime {
    permits: Semaphore,
}

impl Default for OffRuntime {
    fn default() -> Self {
        Self { permits: Semaphore::new(available_parallelism().map_or(1, NonZero::get)) }
    }
}

impl OffRuntime {
    /// Does work that may take as long as a program may. `is_light`: it takes less than handing the runtime's tasks to
    /// another thread is worth, so it is done in place.
    pub(crate) async fn run<T>(&self, is_light: bool, work: impl FnOnce() -> T) -> T {
        // A runtime of one thread has none to hand its tasks to: tests and single commands.
        if is_light || Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread {
            return work();
        }
        // An error means that it is closed, which it never is.
        let _permit = self.permits.acquire().await;
        block_in_place(work)
    }
}
