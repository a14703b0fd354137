//! A tenant's events inside a process, and its readers. A reader that falls behind is let go: what waits for it is
//! bounded by the feed.

use super::event::{Event, Filter, Payload};
use crate::cache::ChangeId;
use crate::words::TenantId;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::broadcast::{self, error::RecvError};

/// How many events a reader may be behind.
const BEHIND_MAX: usize = 1_024;
/// How many missed changes are told again; with more, reading the devices anew costs less.
pub(super) const BACKLOG_MAX: usize = 1_000;

/// The tenants with readers in this process.
#[derive(Default)]
pub(super) struct Feeds(Mutex<HashMap<TenantId, Weak<Feed>>>);

/// A tenant's events. Lives as long as a reader does.
pub(super) struct Feed {
    events: broadcast::Sender<Arc<Event>>,
}

impl Feed {
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }
}

impl Feeds {
    /// A tenant's feed.
    pub(super) fn join(&self, tenant: TenantId) -> Arc<Feed> {
        let mut feeds = self.lock();
        if let Some(feed) = feeds.get(&tenant).and_then(Weak::upgrade) {
            return feed;
        }
        let feed = Arc::new(Feed { events: broadcast::channel(BEHIND_MAX).0 });
        feeds.insert(tenant, Arc::downgrade(&feed));
        feed
    }

    /// Passes an event on to a tenant's readers.
    pub(super) fn tell(&self, tenant: TenantId, event: &Arc<Event>) {
        if let Some(feed) = self.lock().get(&tenant).and_then(Weak::upgrade) {
            // Fails if nobody reads yet.
            drop(feed.events.send(event.clone()));
        }
    }

    /// The tenants with readers; forgets the others.
    pub(super) fn tenants(&self) -> Vec<TenantId> {
        let mut feeds = self.lock();
        feeds.retain(|_, feed| feed.strong_count() > 0);
        feeds.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Weak<Feed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there are no further events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// It read too slowly.
    #[error("you read more slowly than changes come; connect again")]
    TooSlow,
    /// The process stops.
    #[error("the server is being stopped; connect again")]
    Stopping,
}

/// Reads a tenant's events.
pub struct Reader {
    _feed: Arc<Feed>,
    events: broadcast::Receiver<Arc<Event>>,
    missed: VecDeque<Arc<Event>>,
    /// What came before was told.
    told: ChangeId,
    filter: Filter,
    newest: ChangeId,
}

impl Reader {
    pub(super) fn new(
        feed: Arc<Feed>,
        events: broadcast::Receiver<Arc<Event>>,
        newest: ChangeId,
        missed: Vec<Arc<Event>>,
        filter: Filter,
    ) -> Self {
        Self { _feed: feed, events, missed: missed.into(), told: newest, filter, newest }
    }

    /// The newest change when it began to listen.
    pub fn newest(&self) -> ChangeId {
        self.newest
    }

    /// Skips all events until now.
    pub fn skip(&mut self) {
        self.missed.clear();
        self.events = self.events.resubscribe();
    }

    /// The next event that the reader wants.
    pub async fn next(&mut self) -> Result<Arc<Event>, End> {
        loop {
            if let Some(event) = self.missed.pop_front() {
                if self.filter.wants(&event) {
                    return Ok(event);
                }
                continue;
            }
            match self.events.recv().await {
                Ok(event) if matches!(event.payload, Payload::Ended(_)) => {
                    if self.filter.wants(&event) {
                        return Ok(event);
                    }
                }
                // Told already, as one of those that were missed.
                Ok(event) if event.id <= self.told && !matches!(event.payload, Payload::Resync) => {}
                Ok(event) => {
                    self.told = event.id;
                    if self.filter.wants(&event) {
                        return Ok(event);
                    }
                }
                Err(RecvError::Lagged(_)) => return Err(End::TooSlow),
                Err(RecvError::Closed) => return Err(End::Stopping),
            }
        }
    }
}
