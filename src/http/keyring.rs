//! Who a key speaks for, remembered, so that a read asks Postgres nothing; and forgotten the moment keys change.
//!
//! An answer is trusted while Postgres's notifications are heard. While they are not, Postgres is asked every time;
//! only if it is away as well does an answer count that it gave in the last five minutes.

use crate::postgres::{self, Pool, PostgresError};
use crate::preference::keys::{self, Principal};
use crate::retry::RECONNECT;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long an answer counts once Postgres can neither be heard nor asked.
const RECENT: Duration = Duration::from_secs(5 * 60);
/// How long Postgres may think about a key for which there is a recent answer; and, if it was in vain, how long until
/// it is asked again.
const ASK: Duration = Duration::from_millis(250);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A connection can die without a word: so often it must show that it lives.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(2);
/// More keys than this are not remembered: a bound on memory, not on keys.
const KEYS_MAX: usize = 10_000;

type Hash = [u8; 32];

/// The keys' principals. While it lives, a task listens for changes.
pub(super) struct Keyring {
    pool: Pool,
    book: Arc<Mutex<Book>>,
    _hearing: DropGuard,
}

impl Keyring {
    /// Begins to listen.
    pub(super) fn open(pool: Pool) -> Self {
        let (book, stop) = (Arc::new(Mutex::new(Book::default())), CancellationToken::new());
        tokio::spawn(stop.clone().run_until_cancelled_owned(hear(pool.clone(), book.clone())));
        Self { pool, book, _hearing: stop.drop_guard() }
    }

    /// Whom this key speaks for; nobody when it is unknown or revoked.
    pub(super) async fn find(&self, key: &str) -> Result<Option<Principal>, PostgresError> {
        let hash = keys::hash(key);
        let (answer, epoch) = {
            let book = lock(&self.book);
            (book.look(&hash, Instant::now()), book.epoch)
        };
        let found = match answer {
            Answer::Trusted(who) => return Ok(Some(who)),
            Answer::Unknown => keys::find(&self.pool, &hash).await?,
            Answer::Recent(who) => match timeout(ASK, keys::find(&self.pool, &hash)).await {
                Ok(Err(error)) if !error.is_outage() => return Err(error),
                Ok(Ok(found)) => found,
                Ok(Err(_)) | Err(_) => {
                    lock(&self.book).asked_in_vain = Some(Instant::now());
                    return Ok(Some(who));
                }
            },
        };
        lock(&self.book).note(hash, found, epoch, Instant::now());
        Ok(found)
    }
}

/// Hears of changes for ever.
async fn hear(pool: Pool, book: Arc<Mutex<Book>>) {
    let mut failures = 0;
    loop {
        match postgres::listen(&pool, keys::CHANNEL).await {
            Ok(mut listener) => {
                failures = 0;
                lock(&book).hears();
                until_deaf(&mut listener, &book).await;
                lock(&book).is_deaf(Instant::now());
                tracing::debug!("no longer hearing of revoked keys: Postgres is asked each time");
            }
            Err(error) => tracing::debug!(%error, "cannot hear of revoked keys: Postgres is asked each time"),
        }
        let nap = RECONNECT.wait(failures, &mut rand::rng());
        sleep(nap).await;
        failures += 1;
    }
}

async fn until_deaf(listener: &mut postgres::Listener, book: &Mutex<Book>) {
    // What came between two connections was not heard: the book must know that there were two.
    listener.eager_reconnect(false);
    let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            heard = listener.try_recv() => match heard {
                Ok(Some(_)) => lock(book).changed(),
                Ok(None) | Err(_) => return,
            },
            _ = ping.tick() => if !matches!(timeout(PING, postgres::ping(&mut *listener)).await, Ok(Ok(()))) {
                return;
            },
        }
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is remembered. Pure: the instants are handed in.
#[derive(Default)]
struct Book {
    entries: HashMap<Hash, Entry>,
    /// Counts the times after which older answers may be wrong.
    epoch: u64,
    /// The epoch that the last change began: older answers may be of a key that was revoked by it.
    changed_in: u64,
    listening: bool,
    asked_in_vain: Option<Instant>,
}

struct Entry {
    who: Principal,
    epoch: u64,
    verified_at: Instant,
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// As good as Postgres's own.
    Trusted(Principal),
    /// Good if Postgres is away.
    Recent(Principal),
    /// Only Postgres knows.
    Unknown,
}

impl Book {
    fn look(&self, hash: &Hash, now: Instant) -> Answer {
        let Some(entry) = self.entries.get(hash) else { return Answer::Unknown };
        if self.listening && entry.epoch == self.epoch {
            return Answer::Trusted(entry.who);
        }
        if now.duration_since(entry.verified_at) > RECENT {
            return Answer::Unknown;
        }
        let in_vain = self.asked_in_vain.is_some_and(|at| now.duration_since(at) < ASK_AGAIN);
        if in_vain && !self.listening { Answer::Trusted(entry.who) } else { Answer::Recent(entry.who) }
    }

    /// Notes what Postgres said to a question that was asked in `epoch`.
    fn note(&mut self, hash: Hash, found: Option<Principal>, epoch: u64, now: Instant) {
        self.asked_in_vain = None;
        let Some(who) = found else {
            self.entries.remove(&hash);
            return;
        };
        if epoch < self.changed_in {
            return;
        }
        if self.entries.len() >= KEYS_MAX
            && !self.entries.contains_key(&hash)
            && let Some(one) = self.entries.keys().next().copied()
        {
            self.entries.remove(&one);
        }
        self.entries.insert(hash, Entry { who, epoch, verified_at: now });
    }

    /// Notifications are heard from here on; what was noted before may have changed unheard.
    fn hears(&mut self) {
        self.epoch += 1;
        self.listening = true;
    }

    /// Notifications are no longer heard; until now the trusted answers were right.
    fn is_deaf(&mut self, now: Instant) {
        self.listening = false;
        let epoch = self.epoch;
        self.entries
            .values_mut()
            .filter(|entry| entry.epoch == epoch)
            .for_each(|entry| entry.verified_at = now);
    }

    /// Some key changed; which one, the note does not say.
    fn changed(&mut self) {
        self.epoch += 1;
        self.changed_in = self.epoch;
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{Role, TenantId};

    const WHO: Principal = Principal { tenant: TenantId(1), role: Role::Reader };
    const KEY: Hash = [7; 32];

    #[test]
    fn trusts_only_what_it_noted_while_hearing() {
        let (mut book, now) = (Book::default(), Instant::now());
        book.note(KEY, Some(WHO), book.epoch, now);
        assert_eq!(book.look(&KEY, now), Answer::Recent(WHO));
        book.hears();
        assert_eq!(book.look(&KEY, now), Answer::Recent(WHO));
        book.note(KEY, Some(WHO), book.epoch, now);
        assert_eq!(book.look(&KEY, now + RECENT * 2), Answer::Trusted(WHO));
        book.changed();
        assert_eq!(book.look(&KEY, now), Answer::Unknown);
    }

    #[test]
    fn an_answer_that_a_change_overtook_is_not_noted() {
        let (mut book, now) = (Book::default(), Instant::now());
        book.hears();
        let asked_in = book.epoch;
        book.changed();
        book.note(KEY, Some(WHO), asked_in, now);
        assert_eq!(book.look(&KEY, now), Answer::Unknown);
    }

    #[test]
    fn an_answer_that_came_as_it_began_to_hear_is_only_recent() {
        let (mut book, now) = (Book::default(), Instant::now());
        let asked_in = book.epoch;
        book.hears();
        book.note(KEY, Some(WHO), asked_in, now);
        assert_eq!(book.look(&KEY, now), Answer::Recent(WHO));
    }

    #[test]
    fn deaf_and_alone_it_serves_for_five_minutes() {
        let (mut book, now) = (Book::default(), Instant::now());
        book.hears();
        book.note(KEY, Some(WHO), book.epoch, now);
        let lost = now + RECENT * 3;
        book.is_deaf(lost);
        assert_eq!(book.look(&KEY, lost + RECENT / 2), Answer::Recent(WHO));
        book.asked_in_vain = Some(lost + RECENT / 2);
        assert_eq!(book.look(&KEY, lost + RECENT / 2), Answer::Trusted(WHO));
        assert_eq!(book.look(&KEY, lost + RECENT + ASK), Answer::Unknown);
    }

    #[test]
    fn revoked_is_forgotten_and_memory_is_bounded() {
        let (mut book, now) = (Book::default(), Instant::now());
        book.hears();
        for n in 0..KEYS_MAX as u64 + 5 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            book.note(key, Some(WHO), book.epoch, now);
        }
        assert_eq!(book.entries.len(), KEYS_MAX);
        book.note(KEY, Some(WHO), book.epoch, now);
        book.note(KEY, None, book.epoch, now);
        assert_eq!(book.look(&KEY, now), Answer::Unknown);
    }
}
