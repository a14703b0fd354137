//! The task that listens to Redis for all readers of a process, reads what changed, and passes it on.

use super::event::Event;
use super::feed::{BACKLOG_MAX, Feeds};
use crate::app::App;
use crate::cache::{Change, ChangeId, Ended};
use crate::read::{self, ReadError, With};
use crate::redis::{Msg, RedisError, Subscription};
use crate::retry::RECONNECT;
use crate::words::{DeviceId, TenantId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Changes that are read together.
const BATCH: usize = 500;
/// Devices that take longer to read are not told; their readers read them anew.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// How often streams that are read are kept for longer, and looked at: Redis may have lost one.
const KEEP_EVERY: Duration = Duration::from_secs(15);

/// Asks the task to listen to a tenant's changes, and to tell when it does.
pub(super) struct Want {
    pub(super) tenant: TenantId,
    pub(super) told: oneshot::Sender<()>,
}

/// What the task works with. It lasts over a restart of the task after a panic.
pub(super) struct Hub {
    app: App,
    feeds: Arc<Feeds>,
    wants: Mutex<mpsc::UnboundedReceiver<Want>>,
}

/// Runs the task until `stop`.
pub(super) fn spawn(hub: Hub, stop: &CancellationToken) {
    let (supervisor, hub, stop) = (hub.app.supervisor.clone(), Arc::new(hub), stop.clone());
    tokio::spawn(async move {
        let run = || run(hub.clone());
        stop.run_until_cancelled(supervisor.run("live changes", &stop, run)).await
    });
}

/// The tenants that are listened to.
#[derive(Default)]
struct Heard {
    by_channel: HashMap<String, TenantId>,
    /// Which change of each was told last; none: whatever comes next.
    last: HashMap<TenantId, Option<ChangeId>>,
    /// Those who wait until their tenant is listened to.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Heard {
    fn add(&mut self, channel: String, want: Want) {
        self.by_channel.insert(channel, want.tenant);
        self.last.entry(want.tenant).or_default();
        self.waiting.push(want.told);
    }

    fn tell_waiting(&mut self) {
        // Fails if the reader went away.
        self.waiting.drain(..).for_each(|told| told.send(()).unwrap_or_default());
    }
}

async fn run(hub: Arc<Hub>) {
    let mut wants = hub.wants.lock().await;
    let (mut heard, mut failures) = (Heard::default(), 0);
    loop {
        // Nobody reads: no connection either.
        if heard.last.is_empty() {
            let Some(want) = wants.recv().await else { return };
            heard.add(hub.app.cache.channel(want.tenant), want);
        }
        let channels: Vec<_> = heard.by_channel.keys().cloned().collect();
        match hub.app.redis.listen(&channels).await {
            Ok(subscription) => {
                failures = 0;
                hub.pass_on(subscription, &mut wants, &mut heard).await;
            }
            Err(error) => tracing::debug!(%error, "live changes are not heard; readers are told later"),
        }
        // If Redis is away, they find out when they ask it.
        heard.tell_waiting();
        if !heard.last.is_empty() {
            let delay = RECONNECT.wait(failures, &mut rand::rng());
            sleep(delay).await;
            failures += 1;
        }
    }
}

impl Hub {
    pub(super) fn new(app: App, feeds: Arc<Feeds>, wants: mpsc::UnboundedReceiver<Want>) -> Self {
        Self { app, feeds, wants: Mutex::new(wants) }
    }

    /// Passes changes on until the connection is lost, or nobody reads any more.
    async fn pass_on(
        &self,
        mut subscription: Subscription,
        wants: &mut mpsc::UnboundedReceiver<Want>,
        heard: &mut Heard,
    ) {
        // Some may have come while there was no connection.
        for tenant in heard.last.keys().copied().collect::<Vec<_>>() {
            if self.catch_up(tenant, heard).await.is_err() {
                return;
            }
        }
        heard.tell_waiting();
        let mut keep = interval(KEEP_EVERY);
        loop {
            tokio::select! {
                message = subscription.next() => {
                    let Some(first) = message else { return };
                    let mut messages = vec![first];
                    messages.extend(std::iter::from_fn(|| subscription.ready()).take(BATCH - 1));
                    self.tell(&messages, heard).await;
                }
                want = wants.recv() => {
                    let Some(want) = want else { return };
                    let (tenant, channel) = (want.tenant, self.app.cache.channel(want.tenant));
                    let is_new = !heard.last.contains_key(&tenant);
                    heard.add(channel.clone(), want);
                    if is_new
                        && (subscription.add(&channel).await.is_err() || self.catch_up(tenant, heard).await.is_err())
                    {
                        return;
                    }
                    heard.tell_waiting();
                }
                _ = keep.tick() => {
                    if self.keep(&mut subscription, heard).await.is_err() || heard.last.is_empty() {
                        return;
                    }
                }
            }
        }
    }

    /// Tells what came after the last change that was told.
    async fn catch_up(&self, tenant: TenantId, heard: &mut Heard) -> Result<(), RedisError> {
        let last = heard.last.get(&tenant).copied().flatten();
        let found = self.app.cache.changes(tenant, last, BACKLOG_MAX).await?;
        if last.is_some() {
            self.pass(tenant, found.newest, found.after).await;
        }
        heard.last.insert(tenant, Some(found.newest));
        Ok(())
    }

    /// Tells changes, or that they were missed.
    async fn pass(&self, tenant: TenantId, newest: ChangeId, changes: Option<Vec<Change>>) {
        let events = match changes {
            Some(changes) => timeout(READ_TIMEOUT, events(&self.app, tenant, changes)).await,
            None => {
                let event = Event::resync(newest, "the server lost its connection for too long");
                return self.feeds.tell(tenant, &Arc::new(event));
            }
        };
        match events {
            Ok(Ok(events)) => events.iter().for_each(|event| self.feeds.tell(tenant, event)),
            failed => {
                tracing::debug!(?failed, %tenant, "devices that changed could not be read");
                let event = Event::resync(newest, "devices that changed could not be read");
                self.feeds.tell(tenant, &Arc::new(event));
            }
        }
    }

    async fn tell(&self, messages: &[Msg], heard: &mut Heard) {
        let mut changes = BTreeMap::<TenantId, Vec<Change>>::new();
        for message in messages {
            let tenant = heard.by_channel.get(message.get_channel_name());
            let (Ok(text), Some(tenant)) = (message.get_payload::<String>(), tenant) else { continue };
            if let Some(change) = Change::parse(&text) {
                changes.entry(*tenant).or_default().push(change);
            } else if let Some(Ended { device }) = Ended::parse(&text) {
                self.feeds.tell(*tenant, &Arc::new(Event::ended(device)));
            }
        }
        for (tenant, mut changes) in changes {
            let last = heard.last.get(&tenant).copied().flatten();
            changes.retain(|change| last.is_none_or(|last| change.id > last));
            let Some(newest) = changes.iter().map(|change| change.id).max() else { continue };
            self.pass(tenant, newest, Some(changes)).await;
            heard.last.insert(tenant, Some(newest));
        }
    }

    /// Keeps the streams that are read, and forgets those that are not.
    async fn keep(&self, subscription: &mut Subscription, heard: &mut Heard) -> Result<(), RedisError> {
        let read: HashSet<_> = self.feeds.tenants().into_iter().collect();
        let unread: Vec<_> = heard.last.keys().copied().filter(|tenant| !read.contains(tenant)).collect();
        for tenant in unread {
            let channel = self.app.cache.channel(tenant);
            heard.last.remove(&tenant);
            heard.by_channel.remove(&channel);
            subscription
                .remove(&channel)
                .await
                .map_err(|source| RedisError::Failed { what: "listen to fewer channels", source })?;
        }
        for tenant in read {
            if heard.last.contains_key(&tenant) {
                self.catch_up(tenant, heard).await?;
            }
        }
        Ok(())
    }
}

/// What tells these changes: each device as it is now, and each part of it once.
pub async fn events(app: &App, tenant: TenantId, changes: Vec<Change>) -> Result<Vec<Arc<Event>>, ReadError> {
    let mut seen = HashSet::new();
    let mut newest: Vec<_> = changes
        .into_iter()
        .rev()
        .filter(|change| seen.insert((change.device, change.changed.clone())))
        .collect();
    newest.reverse();
    let ids: HashSet<DeviceId> = newest.iter().map(|change| change.device).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let views = read::some(app, tenant, &ids, With::default()).await?;
    let views: HashMap<_, _> = views.into_iter().map(|view| (view.id, Arc::new(view))).collect();
    let event = |change: Change| Event::of(change.clone(), views.get(&change.device)).map(Arc::new);
    Ok(newest.into_iter().filter_map(event).collect())
}
