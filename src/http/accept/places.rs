//! Places for connections: a cap, and a small reserve beyond it.

use super::activity::{Activity, Phase};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Connections beyond the cap, which get `/healthz` and `/readyz` answered and are told 503 for the rest.
const RESERVE: usize = 8;

/// The log says at most this often that all places are taken.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The API's connections at this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(in crate::http) struct Connections {
    /// Open at this moment.
    open: usize,
    /// At most so many are served at once.
    max: usize,
    /// Closed to make room for new ones, because they had waited longest without a request.
    closed_for_others: u64,
    /// Answered 503, because all places were taken by requests.
    turned_away: u64,
}

/// All places.
#[derive(Debug)]
pub(in crate::http) struct Places {
    max: usize,
    seats: Mutex<Seats>,
    freed: Notify,
    closed_for_others: AtomicU64,
    turned_away: AtomicU64,
}

#[derive(Debug, Default)]
struct Seats {
    taken: HashMap<u64, Arc<Seat>>,
    /// How many of them are within the cap.
    regular: usize,
    next: u64,
    warned: Option<Instant>,
}

#[derive(Debug)]
struct Seat {
    reserve: bool,
    activity: Arc<Activity>,
    needed: Notify,
}

/// The place of one connection, until dropped.
pub(super) struct Place {
    number: u64,
    seat: Arc<Seat>,
    places: Arc<Places>,
}

impl Places {
    pub(in crate::http) fn new(max: usize) -> Self {
        Self {
            max,
            seats: Mutex::default(),
            freed: Notify::new(),
            closed_for_others: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    /// What there is, and what was done at the cap since the process began to serve.
    pub(in crate::http) fn connections(&self) -> Connections {
        Connections {
            open: self.seats().taken.len(),
            max: self.max,
            closed_for_others: self.closed_for_others.load(Ordering::Relaxed),
            turned_away: self.turned_away.load(Ordering::Relaxed),
        }
    }

    /// A place for a new connection. At the cap, that of the connection that has waited longest without a request; if
    /// none waits, one of the reserve.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            // Before looking: a place that is given back meanwhile is not missed.
            let freed = self.freed.notified();
            if let Some(place) = self.find() {
                return place;
            }
            freed.await;
        }
    }

    /// A free place, if there is one; else makes one free if it can.
    fn find(self: &Arc<Self>) -> Option<Place> {
        let mut seats = self.seats();
        if seats.regular < self.max {
            return Some(self.seat(&mut seats, false));
        }
        let has_room = if self.close(&seats, false) {
            false
        } else {
            // All are at work.
            let has_room = seats.taken.len() - seats.regular < RESERVE;
            if !has_room && !self.close(&seats, true) {
                tracing::debug!("the reserve of the API's connections is taken as well");
            }
            has_room
        };
        let place = has_room.then(|| self.seat(&mut seats, true));
        let is_news = seats.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY);
        if is_news {
            seats.warned = Some(Instant::now());
            let (closed_for_others, turned_away) = (&self.closed_for_others, &self.turned_away);
            tracing::warn!(
                max = self.max,
                ?closed_for_others,
                ?turned_away,
                "all connections of the API are taken (http.connections_max): those that wait longest without a \
                 request are closed for new ones, or else new ones answered 503"
            );
        }
        place
    }

    fn seat(self: &Arc<Self>, seats: &mut Seats, reserve: bool) -> Place {
        let seat = Arc::new(Seat { reserve, activity: Arc::new(Activity::new()), needed: Notify::new() });
        let number = seats.next;
        seats.next += 1;
        seats.regular += usize::from(!reserve);
        seats.taken.insert(number, seat.clone());
        Place { number, seat, places: self.clone() }
    }

    /// Has the connection closed that has waited longest without a request; whether there is one.
    pub(super) fn close_the_longest_waiting(&self) -> bool {
        self.close(&self.seats(), false)
    }

    fn close(&self, seats: &Seats, reserve: bool) -> bool {
        let waiting = seats.taken.values().filter(|seat| seat.reserve == reserve).filter_map(|seat| {
            let (phase, since) = seat.activity.now();
            (phase != Phase::Busy).then_some((since, seat))
        });
        let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) else { return false };
        longest.needed.notify_one();
        true
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn activity(&self) -> Arc<Activity> {
        self.seat.activity.clone()
    }

    /// Whether it is beyond the cap.
    pub(super) fn is_reserve(&self) -> bool {
        self.seat.reserve
    }

    /// Resolves when the connection is to be closed for another, unless a request has come meanwhile.
    pub(super) async fn needed_by_another(&self) {
        loop {
            self.seat.needed.notified().await;
            if self.seat.activity.now().0 != Phase::Busy {
                self.places.closed_for_others.fetch_add(1, Ordering::Relaxed);
                return;
            }
            // Whoever needs a place looks again.
            self.places.freed.notify_one();
        }
    }

    /// Counts a request that is refused for want of a place.
    pub(super) fn turned_away(&self) {
        self.places.turned_away.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut seats = self.places.seats();
        seats.taken.remove(&self.number);
        seats.regular -= usize::from(!self.seat.reserve);
        drop(seats);
        self.places.freed.notify_one();
    }
}
