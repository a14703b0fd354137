//! Caches the API keys, so that a read needs no query to Postgres. Any change of keys clears it. Notes which are used.
//!
//! An entry is trusted while this process receives Postgres's notifications of changed keys. While it does not, every
//! lookup asks Postgres; if Postgres does not answer either, an entry that was verified within the last five minutes
//! counts.

use crate::postgres::{Listener, Pool, PostgresError};
use crate::preference::keys::{self, Principal, ValidKey};
use crate::retry::RECONNECT;
use crate::supervise::Supervisor;
use crate::words::TenantId;
use futures::future::join;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long an entry counts once Postgres can neither notify nor answer.
const RECENT: Duration = Duration::from_secs(5 * 60);
/// Timeout of a lookup when there is a recent entry to fall back on.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(250);
/// How long the fallback is used without a lookup after one that failed.
const LOOKUP_RETRY: Duration = Duration::from_secs(1);
/// Bounds memory, not the number of keys in use.
const ENTRIES_MAX: usize = 10_000;

/// How exactly it is known when a key was used last.
const USED_EVERY: Duration = Duration::from_secs(60);
/// Keys that are used are noted together.
const NOTE_EVERY: Duration = Duration::from_secs(2);

type Hash = [u8; 32];

/// A key that is valid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Key {
    /// Its number.
    pub(super) id: i64,
    /// Whose it is, and what it may do.
    pub(super) principal: Principal,
    /// Until when, if it expires.
    pub(super) expires: Option<Instant>,
}

impl Key {
    fn new(found: ValidKey, now: Instant) -> Self {
        let ValidKey { id, principal, expires_in } = found;
        Self { id, principal, expires: expires_in.and_then(|within| now.checked_add(within)) }
    }
}

/// Looks up keys. While it lives, a task listens for changed keys.
pub(super) struct Keyring {
    pool: Pool,
    cache: Arc<Mutex<KeyCache>>,
    /// Grows with every change of keys, and whenever one may have been missed.
    changes: watch::Sender<u64>,
    used: Arc<Mutex<Used>>,
    _tasks: DropGuard,
}

impl Keyring {
    /// Starts the tasks that listen, and that note which keys are used.
    pub(super) fn open(pool: Pool, supervisor: Supervisor) -> Self {
        let (cache, stop) = (Arc::new(Mutex::new(KeyCache::default())), CancellationToken::new());
        let (changes, used) = (watch::Sender::new(0), Arc::<Mutex<Used>>::default());
        let (stopped, shared) = (stop.clone(), (pool.clone(), cache.clone(), changes.clone(), used.clone()));
        tokio::spawn(async move {
            let listen = || listen(shared.0.clone(), shared.1.clone(), shared.2.clone());
            let note = || note_used(shared.0.clone(), shared.3.clone());
            let tasks = join(
                supervisor.run("changed keys", &stopped, listen),
                supervisor.run("used keys", &stopped, note),
            );
            stopped.run_until_cancelled(tasks).await
        });
        Self { pool, cache, changes, used, _tasks: stop.drop_guard() }
    }

    /// Tells when keys change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A key; none when it is unknown, expired or revoked. Notes that it is used.
    pub(super) async fn find(&self, key: &str) -> Result<Option<Key>, PostgresError> {
        let found = self.look_up(key).await?;
        if let Some(key) = &found {
            lock(&self.used).note(key, Instant::now());
        }
        Ok(found)
    }

    async fn look_up(&self, key: &str) -> Result<Option<Key>, PostgresError> {
        let hash = keys::hash(key);
        let (cached, epoch) = {
            let cache = lock(&self.cache);
            (cache.get(&hash, Instant::now()), cache.epoch)
        };
        let found = match cached {
            Cached::Trusted(key) => return Ok(Some(key)),
            Cached::Unknown => keys::find(&self.pool, &hash).await?,
            Cached::Recent(key) => match timeout(LOOKUP_TIMEOUT, keys::find(&self.pool, &hash)).await {
                Ok(Err(error)) if !error.is_outage() => return Err(error),
                Ok(Ok(found)) => found,
                Ok(Err(_)) | Err(_) => {
                    lock(&self.cache).lookup_failed_at = Some(Instant::now());
                    return Ok(Some(key));
                }
            },
        };
        let found = found.map(|found| Key::new(found, Instant::now()));
        lock(&self.cache).insert(hash, found, epoch, Instant::now());
        Ok(found)
    }
}

/// The keys that are used in this process.
#[derive(Default)]
struct Used {
    /// When each was noted last.
    noted: HashMap<i64, Instant>,
    to_note: Vec<(TenantId, i64)>,
}

impl Used {
    fn note(&mut self, key: &Key, now: Instant) {
        if self.noted.get(&key.id).is_some_and(|at| now.duration_since(*at) < USED_EVERY) {
            return;
        }
        if self.noted.len() >= ENTRIES_MAX {
            self.noted.clear();
        }
        self.noted.insert(key.id, now);
        self.to_note.push((key.principal.tenant, key.id));
    }
}

/// Stores which keys were used, until cancelled. A failure leaves an older time, until the key is used a minute later.
async fn note_used(pool: Pool, used: Arc<Mutex<Used>>) {
    loop {
        sleep(NOTE_EVERY).await;
        let to_note = std::mem::take(&mut lock(&used).to_note);
        if !to_note.is_empty()
            && let Err(error) = keys::note_used(&pool, &to_note).await
        {
            tracing::debug!(%error, keys = to_note.len(), "when keys were used is not stored");
        }
    }
}

/// Listens for changed keys until cancelled.
async fn listen(pool: Pool, cache: Arc<Mutex<KeyCache>>, changes: watch::Sender<u64>) {
    let mut failures = 0;
    loop {
        match Listener::open(&pool, keys::CHANNEL).await {
            Ok(mut listener) => {
                failures = 0;
                let lost = LostOnDrop(&cache);
                lock(&cache).listen_started();
                changes.send_modify(|n| *n += 1);
                while listener.next().await.is_ok() {
                    lock(&cache).keys_changed();
                    changes.send_modify(|n| *n += 1);
                }
                drop(lost);
                tracing::debug!("lost the notifications of changed keys; each lookup asks Postgres");
            }
            Err(error) => {
                tracing::debug!(%error, "cannot listen for changed keys; each lookup asks Postgres");
            }
        }
        let delay = RECONNECT.wait(failures, &mut rand::rng());
        sleep(delay).await;
        failures += 1;
    }
}

/// Ends the trust in cached keys when the listener ends, also by a panic.
struct LostOnDrop<'a>(&'a Mutex<KeyCache>);

impl Drop for LostOnDrop<'_> {
    fn drop(&mut self) {
        lock(self.0).listen_lost(Instant::now());
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cached keys. Pure: instants are arguments.
#[derive(Default)]
struct KeyCache {
    entries: HashMap<Hash, Entry>,
    /// Grows whenever older entries may have become wrong: LISTEN started, or keys changed.
    epoch: u64,
    /// The epoch that the last change of keys began. A lookup from before it may have found a key revoked since.
    changed_epoch: u64,
    listening: bool,
    lookup_failed_at: Option<Instant>,
}

struct Entry {
    key: Key,
    epoch: u64,
    verified_at: Instant,
}

#[derive(Debug, PartialEq)]
enum Cached {
    /// As current as Postgres.
    Trusted(Key),
    /// To be used only if Postgres does not answer.
    Recent(Key),
    /// Postgres must be asked.
    Unknown,
}

impl KeyCache {
    fn get(&self, hash: &Hash, now: Instant) -> Cached {
        let Some(entry) = self.entries.get(hash) else { return Cached::Unknown };
        if entry.key.expires.is_some_and(|at| at <= now) {
            return Cached::Unknown;
        }
        if self.listening && entry.epoch == self.epoch {
            return Cached::Trusted(entry.key);
        }
        if now.duration_since(entry.verified_at) > RECENT {
            return Cached::Unknown;
        }
        let failed = self.lookup_failed_at.is_some_and(|at| now.duration_since(at) < LOOKUP_RETRY);
        if failed && !self.listening { Cached::Trusted(entry.key) } else { Cached::Recent(entry.key) }
    }

    /// Stores the result of a lookup that began in `epoch`.
    fn insert(&mut self, hash: Hash, found: Option<Key>, epoch: u64, now: Instant) {
        self.lookup_failed_at = None;
        let Some(key) = found else {
            self.entries.remove(&hash);
            return;
        };
        if epoch < self.changed_epoch {
            return;
        }
        if self.entries.len() >= ENTRIES_MAX
            && !self.entries.contains_key(&hash)
            && let Some(evicted) = self.entries.keys().next().copied()
        {
            self.entries.remove(&evicted);
        }
        self.entries.insert(hash, Entry { key, epoch, verified_at: now });
    }

    /// LISTEN started. Earlier entries may have changed while nobody listened.
    fn listen_started(&mut self) {
        self.epoch += 1;
        self.listening = true;
    }

    /// LISTEN was lost. The trusted entries were current until now, so they count as verified now.
    fn listen_lost(&mut self, now: Instant) {
        self.listening = false;
        let epoch = self.epoch;
        self.entries
            .values_mut()
            .filter(|entry| entry.epoch == epoch)
            .for_each(|entry| entry.verified_at = now);
    }

    /// Some key changed; the notification does not say which.
    fn keys_changed(&mut self) {
        self.epoch += 1;
        self.changed_epoch = self.epoch;
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Role;

    const FOUND: Key =
        Key { id: 3, principal: Principal { tenant: TenantId(1), role: Role::Reader }, expires: None };
    const KEY: Hash = [7; 32];

    #[test]
    fn entries_are_trusted_only_if_stored_while_listening() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        cache.insert(KEY, Some(FOUND), cache.epoch, now);
        assert_eq!(cache.get(&KEY, now), Cached::Recent(FOUND));
        cache.listen_started();
        assert_eq!(cache.get(&KEY, now), Cached::Recent(FOUND));
        cache.insert(KEY, Some(FOUND), cache.epoch, now);
        assert_eq!(cache.get(&KEY, now + RECENT * 2), Cached::Trusted(FOUND));
        cache.keys_changed();
        assert_eq!(cache.get(&KEY, now), Cached::Unknown);
    }

    #[test]
    fn lookup_racing_with_key_change_is_not_stored() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        cache.listen_started();
        let lookup_epoch = cache.epoch;
        cache.keys_changed();
        cache.insert(KEY, Some(FOUND), lookup_epoch, now);
        assert_eq!(cache.get(&KEY, now), Cached::Unknown);
    }

    #[test]
    fn lookup_racing_with_listen_is_not_trusted() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        let lookup_epoch = cache.epoch;
        cache.listen_started();
        cache.insert(KEY, Some(FOUND), lookup_epoch, now);
        assert_eq!(cache.get(&KEY, now), Cached::Recent(FOUND));
    }

    #[test]
    fn without_notifications_and_postgres_entries_count_for_five_minutes() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        cache.listen_started();
        cache.insert(KEY, Some(FOUND), cache.epoch, now);
        let lost = now + RECENT * 3;
        cache.listen_lost(lost);
        assert_eq!(cache.get(&KEY, lost + RECENT / 2), Cached::Recent(FOUND));
        cache.lookup_failed_at = Some(lost + RECENT / 2);
        assert_eq!(cache.get(&KEY, lost + RECENT / 2), Cached::Trusted(FOUND));
        assert_eq!(cache.get(&KEY, lost + RECENT + LOOKUP_TIMEOUT), Cached::Unknown);
    }

    #[test]
    fn revoked_key_is_removed_and_entries_are_bounded() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        cache.listen_started();
        for n in 0..ENTRIES_MAX as u64 + 5 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            cache.insert(key, Some(FOUND), cache.epoch, now);
        }
        assert_eq!(cache.entries.len(), ENTRIES_MAX);
        cache.insert(KEY, Some(FOUND), cache.epoch, now);
        cache.insert(KEY, None, cache.epoch, now);
        assert_eq!(cache.get(&KEY, now), Cached::Unknown);
    }

    #[test]
    fn expired_key_is_looked_up_even_without_postgres() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        cache.listen_started();
        let key = Key { expires: Some(now + RECENT / 2), ..FOUND };
        cache.insert(KEY, Some(key), cache.epoch, now);
        assert_eq!(cache.get(&KEY, now), Cached::Trusted(key));
        assert_eq!(cache.get(&KEY, now + RECENT / 2), Cached::Unknown);
        cache.listen_lost(now + RECENT / 2);
        assert_eq!(cache.get(&KEY, now + RECENT / 2), Cached::Unknown);
    }

    #[test]
    fn use_of_a_key_is_noted_once_a_minute() {
        let (mut used, now) = (Used::default(), Instant::now());
        used.note(&FOUND, now);
        used.note(&FOUND, now + USED_EVERY / 2);
        assert_eq!(used.to_note, [(TenantId(1), 3)]);
        used.note(&FOUND, now + USED_EVERY);
        assert_eq!(used.to_note.len(), 2);
    }
}
