//! Devices that the cache has in part, until one task at a time has completed them.

use crate::words::DeviceId;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many are completed in one query.
const AT_ONCE: usize = 500;

/// Clones share the devices.
#[derive(Clone, Default)]
pub(super) struct Incomplete {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    devices: BTreeSet<DeviceId>,
    /// Whether a task takes them.
    has_task: bool,
}

impl Incomplete {
    /// Adds devices. True: the caller must start a task that takes all with [`Self::next`].
    pub(super) fn add(&self, devices: Vec<DeviceId>) -> bool {
        let mut waiting = self.lock();
        waiting.devices.extend(devices);
        !std::mem::replace(&mut waiting.has_task, true)
    }

    /// Some of those that wait; none, and the task is over, if none do.
    pub(super) fn next(&self) -> Option<Vec<DeviceId>> {
        let mut waiting = self.lock();
        let some: Vec<_> = waiting.devices.iter().take(AT_ONCE).copied().collect();
        for device in &some {
            waiting.devices.remove(device);
        }
        waiting.has_task = !some.is_empty();
        Some(some).filter(|some| !some.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_takes_all_that_come_meanwhile() {
        let incomplete = Incomplete::default();
        assert!(incomplete.add(vec![DeviceId(1)]));
        assert!(!incomplete.add(vec![DeviceId(2), DeviceId(1)]));
        assert_eq!(incomplete.next(), Some(vec![DeviceId(1), DeviceId(2)]));
        assert!(!incomplete.add(vec![DeviceId(1)]));
        assert_eq!(incomplete.next(), Some(vec![DeviceId(1)]));
        assert_eq!(incomplete.next(), None);
        assert!(incomplete.add(vec![DeviceId(3)]));
    }
}
