//! The places of calls in flight: each process has so many per provider. A connection whose calls hang gets its share.

use crate::take::Room;
use crate::words::ConnectionId;
use std::collections::{HashMap, HashSet};
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A call that is not over by then hangs, as far as others are concerned.
const HANGS_AFTER: Duration = Duration::from_secs(1);
/// Connections that had a call within one to two of these count as active.
const ACTIVE_FOR: Duration = Duration::from_secs(30);

/// One permit per call that is not settled.
#[derive(Clone)]
pub(super) struct Slots {
    permits: Arc<Semaphore>,
    all: usize,
    held: Arc<Mutex<Held>>,
}

/// A place. Free again when dropped.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    held: Arc<Mutex<Held>>,
    connection: ConnectionId,
    number: u64,
}

/// By whom places are held.
struct Held {
    /// By connection: the number of each of its calls, and when it is to be sent.
    calls: HashMap<ConnectionId, HashMap<u64, Instant>>,
    next_number: u64,
    /// Whose last call hung.
    slow: HashSet<ConnectionId>,
    /// Connections that had calls in this period and in the one before.
    active: [HashSet<ConnectionId>; 2],
    period_began: Instant,
}

impl Slots {
    pub(super) fn new(all: usize) -> Self {
        let held = Held {
            calls: HashMap::new(),
            next_number: 0,
            slow: HashSet::new(),
            active: Default::default(),
            period_began: Instant::now(),
        };
        Self { permits: Arc::new(Semaphore::new(all)), all, held: Arc::new(Mutex::new(held)) }
    }

    /// Waits until one is free. Returns how many are.
    pub(super) async fn free(&self) -> usize {
        // Never closed: the semaphore lives as long as this.
        drop(self.permits.acquire().await);
        self.permits.available_permits()
    }

    /// Takes one, for a call that is to be sent at this instant; none if there is none.
    pub(super) fn take(&self, connection: ConnectionId, send_at: Instant) -> Option<Slot> {
        let permit = self.permits.clone().try_acquire_owned().ok()?;
        let number = lock(&self.held).note(connection, send_at);
        Some(Slot { _permit: permit, held: self.held.clone(), connection, number })
    }

    /// How many calls of each connection may be granted now; none while only one is active, which may have all.
    pub(super) fn room(&self, now: Instant) -> Option<Room> {
        let is_scarce = self.permits.available_permits() * 2 < self.all;
        lock(&self.held).room(self.all, is_scarce, now)
    }
}

impl Held {
    fn note(&mut self, connection: ConnectionId, send_at: Instant) -> u64 {
        if send_at > self.period_began + ACTIVE_FOR {
            self.active = [HashSet::new(), take(&mut self.active[0])];
            self.period_began = send_at;
            let [now, before] = &self.active;
            self.slow.retain(|connection| now.contains(connection) || before.contains(connection));
        }
        self.active[0].insert(connection);
        self.next_number += 1;
        self.calls.entry(connection).or_default().insert(self.next_number, send_at);
        self.next_number
    }

    /// A call is over.
    fn forget(&mut self, connection: ConnectionId, number: u64, now: Instant) {
        let Some(calls) = self.calls.get_mut(&connection) else { return };
        let Some(send_at) = calls.remove(&number) else { return };
        if calls.is_empty() {
            self.calls.remove(&connection);
        }
        match hangs(send_at, now) {
            true => self.slow.insert(connection),
            false => self.slow.remove(&connection),
        };
    }

    fn room(&self, all: usize, is_scarce: bool, now: Instant) -> Option<Room> {
        let active = self.active[0].len().max(self.active[1].len()).max(self.calls.len());
        if active < 2 {
            return None;
        }
        let half = (all / 2).max(1);
        // As if one more were active, so that there is a place for one that comes.
        let share = (all / (active + 1)).max(1);
        let of_slow = if is_scarce { share } else { half };
        let mut of = HashMap::new();
        for (connection, calls) in &self.calls {
            let is_slow = self.slow.contains(connection) || calls.values().any(|at| hangs(*at, now));
            // Those with few calls are not worth a line.
            if is_slow || calls.len() * 4 >= all {
                of.insert(*connection, if is_slow { of_slow } else { half }.saturating_sub(calls.len()));
            }
        }
        // Where most are slow, it is the provider.
        if self.slow.len() > all {
            return Some(Room { most: of_slow, of });
        }
        for connection in &self.slow {
            of.entry(*connection).or_insert(of_slow);
        }
        Some(Room { most: half, of })
    }
}

fn hangs(send_at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(send_at) > HANGS_AFTER
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.held).forget(self.connection, self.number, Instant::now());
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(5);

    fn taken(slots: &Slots, connection: i64, calls: usize, at: Instant) -> Vec<Slot> {
        (0..calls).map(|_| slots.take(ConnectionId(connection), at).expect("a place")).collect()
    }

    fn room(most: usize, of: &[(i64, usize)]) -> Option<Room> {
        Some(Room {
            most,
            of: of.iter().map(|(connection, calls)| (ConnectionId(*connection), *calls)).collect(),
        })
    }

    #[test]
    fn connection_that_is_alone_may_have_all_places() {
        let (slots, now) = (Slots::new(8), Instant::now());
        let _held = taken(&slots, 1, 8, now);
        assert!(slots.take(ConnectionId(1), now).is_none());
        assert_eq!(slots.room(now + LATER), None);
    }

    #[test]
    fn beside_others_a_connection_gets_half_and_a_hanging_one_its_share() {
        let (slots, now) = (Slots::new(8), Instant::now());
        let others = taken(&slots, 2, 1, now + LATER);
        let held = taken(&slots, 1, 3, now);
        assert_eq!(slots.room(now), room(4, &[(1, 1)]));
        // Its calls hang, but most places are free.
        drop(held);
        let held = taken(&slots, 1, 1, now);
        assert_eq!(slots.room(now + LATER), room(4, &[(1, 3)]));
        // Places are scarce: two of eight for each of two, and for one to come.
        let more = taken(&slots, 2, 4, now + LATER);
        assert_eq!(slots.room(now + LATER), room(4, &[(1, 1), (2, 0)]));
        drop((others, held, more));
    }

    #[test]
    fn connection_whose_last_call_hung_is_slow_until_one_does_not() {
        let (slots, now) = (Slots::new(8), Instant::now());
        let _other = taken(&slots, 2, 1, now);
        drop(taken(&slots, 1, 1, now - LATER));
        assert_eq!(slots.room(now), room(4, &[(1, 4)]));
        drop(taken(&slots, 1, 1, now));
        assert_eq!(slots.room(now), room(4, &[]));
    }

    #[test]
    fn places_are_free_again_when_calls_are_over() {
        let (slots, now) = (Slots::new(2), Instant::now());
        drop(taken(&slots, 1, 2, now));
        let _again = taken(&slots, 1, 2, now);
        assert_eq!(lock(&slots.held).calls.len(), 1);
    }
}
