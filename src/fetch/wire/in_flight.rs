//! Counts the calls in flight of this process: a cloud that reports its remaining quota may not have counted them yet.

use crate::fetch::Call;
use crate::words::{ConnectionId, Scope};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Calls in flight, by connection.
#[derive(Default)]
pub(crate) struct InFlight(Mutex<HashMap<ConnectionId, u32>>);

/// One call in flight; dropping it ends the count.
pub(crate) struct InFlightCall<'a> {
    calls: &'a InFlight,
    connection: ConnectionId,
}

impl InFlight {
    /// Counts a call until the result is dropped.
    pub(crate) fn enter(&self, call: &Call) -> InFlightCall<'_> {
        let connection = call.connection.id;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(connection).or_default() += 1;
        InFlightCall { calls: self, connection }
    }
}

impl InFlightCall<'_> {
    /// Number of other calls in flight within a scope. Calls of one group or device are not counted: they are few.
    pub(crate) fn other_calls(&self, scope: Scope) -> u32 {
        let calls = self.calls.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = match scope {
            Scope::App => calls.values().sum(),
            Scope::Connection => calls.get(&self.connection).copied().unwrap_or(1),
            Scope::Group | Scope::Device => 1,
        };
        counted.saturating_sub(1)
    }
}

impl Drop for InFlightCall<'_> {
    fn drop(&mut self) {
        let mut calls = self.calls.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = calls.get_mut(&self.connection) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.connection);
            }
        }
    }
}
