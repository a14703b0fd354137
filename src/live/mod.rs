//! Changes as they come, for whoever listens: one subscription per process, however many readers.

mod event;
mod feed;
mod hub;

pub use event::{Event, Filter, Payload};
pub use feed::{End, Reader};
pub use hub::events;

use crate::app::App;
use crate::cache::ChangeId;
use crate::read::ReadError;
use crate::redis::RedisError;
use crate::words::TenantId;
use feed::Feeds;
use hub::{Hub, Want};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a reader waits until its tenant is listened to.
const LISTENS_WITHIN: Duration = Duration::from_secs(2);

/// Why nobody can listen now.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Redis.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// A device that changed could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The process does not hear of changes now.
    #[error("Redis does not tell of changes now")]
    Silent,
    /// The process is being stopped.
    #[error("the server is being stopped")]
    Stopping,
}

/// The changes that a process passes on. While it lives, a task listens for those that somebody reads.
pub struct Live {
    app: App,
    feeds: Arc<Feeds>,
    wanted: mpsc::UnboundedSender<Want>,
    _listener: DropGuard,
}

impl Live {
    /// Starts the task. Must be called inside a tokio runtime.
    pub fn start(app: App) -> Self {
        let feeds = Arc::new(Feeds::default());
        let (wanted, wants) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        hub::spawn(Hub::new(app.clone(), feeds.clone(), wants), &stop);
        Self { app, feeds, wanted, _listener: stop.drop_guard() }
    }

    /// Begins to listen to a tenant's changes: to those after the one that a reader had last, or to new ones.
    pub async fn listen(
        &self,
        tenant: TenantId,
        after: Option<ChangeId>,
        filter: Filter,
    ) -> Result<Reader, LiveError> {
        let feed = self.feeds.join(tenant);
        let (told, listening) = oneshot::channel();
        // Fails if the task has ended; then so does the wait.
        drop(self.wanted.send(Want { tenant, told }));
        timeout(LISTENS_WITHIN, listening)
            .await
            .map_err(|_| LiveError::Silent)?
            .map_err(|_| LiveError::Stopping)?;
        let events = feed.subscribe();
        // Read after the events begin, so that nothing falls between the two; what is in both is told once.
        let changes = self.app.cache.changes(tenant, after, feed::BACKLOG_MAX).await?;
        let missed = match changes.after {
            Some(missed) => hub::events(&self.app, tenant, missed).await?,
            None => vec![Arc::new(Event::resync(changes.newest, "changes since then are not kept any more"))],
        };
        Ok(Reader::new(feed, events, changes.newest, missed, filter))
    }
}
