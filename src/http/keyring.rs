//! Caches the principal of each API key, so that a read needs no query to Postgres. Any change of keys clears it.
//!
//! An entry is trusted while this process receives Postgres's notifications of changed keys. While it does not, every
//! lookup asks Postgres; if Postgres does not answer either, an entry that was verified within the last five minutes
//! counts.

use crate::postgres::{Listener, Pool, PostgresError};
use crate::preference::keys::{self, Principal};
use crate::retry::RECONNECT;
use crate::supervise::Supervisor;
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

type Hash = [u8; 32];

/// Looks up keys. While it lives, a task listens for changed keys.
pub(super) struct Keyring {
    pool: Pool,
    cache: Arc<Mutex<KeyCache>>,
    /// Grows with every change of keys, and whenever one may have been missed.
    changes: watch::Sender<u64>,
    _listener: DropGuard,
}

impl Keyring {
    /// Starts the listener.
    pub(super) fn open(pool: Pool, supervisor: Supervisor) -> Self {
        let (cache, stop) = (Arc::new(Mutex::new(KeyCache::default())), CancellationToken::new());
        let changes = watch::Sender::new(0);
        let (stopped, shared) = (stop.clone(), (pool.clone(), cache.clone(), changes.clone()));
        tokio::spawn(async move {
            let listen = || listen(shared.0.clone(), shared.1.clone(), shared.2.clone());
            stopped.run_until_cancelled(supervisor.run("changed keys", &stopped, listen)).await
        });
        Self { pool, cache, changes, _listener: stop.drop_guard() }
    }

    /// Tells when keys change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The principal of a key; none when the key is unknown or revoked.
    pub(super) async fn find(&self, key: &str) -> Result<Option<Principal>, PostgresError> {
        let hash = keys::hash(key);
        let (cached, epoch) = {
            let cache = lock(&self.cache);
            (cache.get(&hash, Instant::now()), cache.epoch)
        };
        let found = match cached {
            Cached::Trusted(principal) => return Ok(Some(principal)),
            Cached::Unknown => keys::find(&self.pool, &hash).await?,
            Cached::Recent(principal) => match timeout(LOOKUP_TIMEOUT, keys::find(&self.pool, &hash)).await {
                Ok(Err(error)) if !error.is_outage() => return Err(error),
                Ok(Ok(found)) => found,
                Ok(Err(_)) | Err(_) => {
                    lock(&self.cache).lookup_failed_at = Some(Instant::now());
                    return Ok(Some(principal));
                }
            },
        };
        lock(&self.cache).insert(hash, found, epoch, Instant::now());
        Ok(found)
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

fn lock(cache: &Mutex<KeyCache>) -> MutexGuard<'_, KeyCache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cached principals. Pure: instants are arguments.
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
    principal: Principal,
    epoch: u64,
    verified_at: Instant,
}

#[derive(Debug, PartialEq)]
enum Cached {
    /// As current as Postgres.
    Trusted(Principal),
    /// To be used only if Postgres does not answer.
    Recent(Principal),
    /// Postgres must be asked.
    Unknown,
}

impl KeyCache {
    fn get(&self, hash: &Hash, now: Instant) -> Cached {
        let Some(entry) = self.entries.get(hash) else { return Cached::Unknown };
        if self.listening && entry.epoch == self.epoch {
            return Cached::Trusted(entry.principal);
        }
        if now.duration_since(entry.verified_at) > RECENT {
            return Cached::Unknown;
        }
        let failed = self.lookup_failed_at.is_some_and(|at| now.duration_since(at) < LOOKUP_RETRY);
        if failed && !self.listening {
            Cached::Trusted(entry.principal)
        } else {
            Cached::Recent(entry.principal)
        }
    }

    /// Stores the result of a lookup that began in `epoch`.
    fn insert(&mut self, hash: Hash, found: Option<Principal>, epoch: u64, now: Instant) {
        self.lookup_failed_at = None;
        let Some(principal) = found else {
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
        self.entries.insert(hash, Entry { principal, epoch, verified_at: now });
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
    use crate::words::{Role, TenantId};

    const PRINCIPAL: Principal = Principal { tenant: TenantId(1), role: Role::Reader };
    const KEY: Hash = [7; 32];

    #[test]
    fn entries_are_trusted_only_if_stored_while_listening() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        cache.insert(KEY, Some(PRINCIPAL), cache.epoch, now);
        assert_eq!(cache.get(&KEY, now), Cached::Recent(PRINCIPAL));
        cache.listen_started();
        assert_eq!(cache.get(&KEY, now), Cached::Recent(PRINCIPAL));
        cache.insert(KEY, Some(PRINCIPAL), cache.epoch, now);
        assert_eq!(cache.get(&KEY, now + RECENT * 2), Cached::Trusted(PRINCIPAL));
        cache.keys_changed();
        assert_eq!(cache.get(&KEY, now), Cached::Unknown);
    }

    #[test]
    fn lookup_racing_with_key_change_is_not_stored() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        cache.listen_started();
        let lookup_epoch = cache.epoch;
        cache.keys_changed();
        cache.insert(KEY, Some(PRINCIPAL), lookup_epoch, now);
        assert_eq!(cache.get(&KEY, now), Cached::Unknown);
    }

    #[test]
    fn lookup_racing_with_listen_is_not_trusted() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        let lookup_epoch = cache.epoch;
        cache.listen_started();
        cache.insert(KEY, Some(PRINCIPAL), lookup_epoch, now);
        assert_eq!(cache.get(&KEY, now), Cached::Recent(PRINCIPAL));
    }

    #[test]
    fn without_notifications_and_postgres_entries_count_for_five_minutes() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        cache.listen_started();
        cache.insert(KEY, Some(PRINCIPAL), cache.epoch, now);
        let lost = now + RECENT * 3;
        cache.listen_lost(lost);
        assert_eq!(cache.get(&KEY, lost + RECENT / 2), Cached::Recent(PRINCIPAL));
        cache.lookup_failed_at = Some(lost + RECENT / 2);
        assert_eq!(cache.get(&KEY, lost + RECENT / 2), Cached::Trusted(PRINCIPAL));
        assert_eq!(cache.get(&KEY, lost + RECENT + LOOKUP_TIMEOUT), Cached::Unknown);
    }

    #[test]
    fn revoked_key_is_removed_and_entries_are_bounded() {
        let (mut cache, now) = (KeyCache::default(), Instant::now());
        cache.listen_started();
        for n in 0..ENTRIES_MAX as u64 + 5 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            cache.insert(key, Some(PRINCIPAL), cache.epoch, now);
        }
        assert_eq!(cache.entries.len(), ENTRIES_MAX);
        cache.insert(KEY, Some(PRINCIPAL), cache.epoch, now);
        cache.insert(KEY, None, cache.epoch, now);
        assert_eq!(cache.get(&KEY, now), Cached::Unknown);
    }
}
