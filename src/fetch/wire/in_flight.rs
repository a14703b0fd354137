//! Which calls of this process are on their way: a cloud that tells what is left may not have counted them yet.

use crate::fetch::Call;
use crate::words::{ConnectionId, Scope};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Calls on their way, by connection.
#[derive(Default)]
pub(crate) struct InFlight(Mutex<HashMap<ConnectionId, u32>>);

/// One call, until it is dropped.
pub(crate) struct Flight<'a> {
    all: &'a InFlight,
    connection: ConnectionId,
}

impl InFlight {
    /// Counts a call.
    pub(crate) fn enter(&self, call: &Call) -> Flight<'_> {
        let connection = call.connection.id;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(connection).or_default() += 1;
        Flight { all: self, connection }
    }
}

impl Flight<'_> {
    /// How many others there are within a scope. A device's or a group's own are not told apart: those are few.
    pub(crate) fn others(&self, scope: Scope) -> u32 {
        let calls = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = match scope {
            Scope::App => calls.values().sum(),
            Scope::Connection => calls.get(&self.connection).copied().unwrap_or(1),
            Scope::Group | Scope::Device => 1,
        };
        counted.saturating_sub(1)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut calls = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = calls.get_mut(&self.connection) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.connection);
            }
        }
    }
}
