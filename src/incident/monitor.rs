//! Notes in Redis how the calls of a provider's connections end. The one caller of `note.lua`.

use crate::redis::{Keys, Redis, RedisError, Script};
use crate::words::{ConnectionId, Incident, ProviderName, UnixMs};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// When failures are an incident, and how the provider is probed while it lasts.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rules {
    /// Failures within this time count, ms.
    pub window_ms: u64,
    /// At least so many connections fail the same way …
    pub connections_min: u32,
    /// … and at least this share of those that were called.
    pub share: f64,
    /// The first wait between probes, ms; each is twice as long as the one before …
    pub probe_ms: u64,
    /// … up to this.
    pub probe_max_ms: u64,
}

/// Whether a connection's last call succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The provider answered as it should.
    Well {
        /// Whether an earlier call failed.
        after_failure: bool,
    },
    /// With this outcome.
    Failed(&'static str),
}

/// What changed with a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An incident was opened, or one that another process opened is new to this process.
    Opened,
    /// An incident ended.
    Closed,
    /// Nothing.
    None,
}

/// Notes how calls end, and knows the incidents that last.
#[derive(Clone)]
pub struct Monitor {
    redis: Redis,
    keys: Keys,
    rules: Rules,
    note: Arc<Script>,
    known: Arc<Mutex<HashMap<ProviderName, Known>>>,
}

/// What this process has noted for a provider. Redis is spared notes that change nothing there.
#[derive(Default)]
struct Known {
    /// The incident, as of the last note.
    incident: Option<Incident>,
    /// Connections whose last call failed here.
    failing: HashSet<ConnectionId>,
    /// Connections that were noted in this window.
    called: HashSet<ConnectionId>,
    window: u64,
}

#[derive(Serialize)]
struct Notes<'a> {
    well: Vec<ConnectionId>,
    failed: Vec<(ConnectionId, &'a str)>,
}

/// What `note.lua` returns.
#[derive(Deserialize)]
struct Reply {
    change: String,
    outcome: String,
    since: f64,
    failing: u64,
    called: u64,
    next_probe: f64,
}

impl Monitor {
    /// The monitor of all providers.
    pub fn new(redis: Redis, keys: Keys, rules: Rules) -> Self {
        let note = Arc::new(Script::new("note", include_str!("note.lua"), &[]));
        Self { redis, keys, rules, note, known: Arc::default() }
    }

    /// The provider's incident, as far as this process knows.
    pub fn known(&self, provider: &ProviderName) -> Option<Incident> {
        self.lock().get(provider)?.incident.clone()
    }

    /// The provider's incident, from Redis.
    pub async fn read(&self, provider: &ProviderName) -> Result<Option<Incident>, RedisError> {
        Ok(self.ask(provider, &Notes { well: Vec::new(), failed: Vec::new() }, None).await?.incident())
    }

    /// The incidents of these providers that last, from Redis. A provider whose schedule cannot be reached is left out.
    pub async fn read_all(&self, providers: &[ProviderName]) -> HashMap<ProviderName, Incident> {
        let read = async |provider: &ProviderName| match self.read(provider).await {
            Ok(incident) => incident.map(|incident| (provider.clone(), incident)),
            Err(error) => {
                tracing::debug!(%provider, %error, "incident not read");
                None
            }
        };
        join_all(providers.iter().map(read)).await.into_iter().flatten().collect()
    }

    /// Notes how the last call of each of these connections ended, unless Redis knows it. `now` is for tests; `None` is
    /// Redis's clock.
    pub async fn note(
        &self,
        provider: &ProviderName,
        ended: &HashMap<ConnectionId, Health>,
        at: UnixMs,
        now: Option<UnixMs>,
    ) -> Result<Change, RedisError> {
        if !self.is_news(provider, ended, at) {
            return Ok(Change::None);
        }
        let mut notes = Notes { well: Vec::new(), failed: Vec::new() };
        for (connection, ended) in ended {
            match ended {
                Health::Well { .. } => notes.well.push(*connection),
                Health::Failed(outcome) => notes.failed.push((*connection, outcome)),
            }
        }
        let reply = self.ask(provider, &notes, now).await?;
        let mut known = self.lock();
        let known = known.entry(provider.clone()).or_default();
        let (before, now) = (known.incident.take(), reply.incident());
        known.incident = now.clone();
        known.called.extend(ended.keys());
        known.failing.extend(notes.failed.iter().map(|(connection, _)| connection));
        for connection in &notes.well {
            known.failing.remove(connection);
        }
        Ok(match (before.map(|incident| incident.since), now.map(|incident| incident.since)) {
            (before, Some(since)) if before != Some(since) => Change::Opened,
            (Some(_), None) => Change::Closed,
            _ if reply.change == "closed" => Change::Closed,
            _ => Change::None,
        })
    }

    /// Whether Redis does not know it yet: a failure, a success after one, or the first call of a connection in this
    /// window.
    fn is_news(&self, provider: &ProviderName, ended: &HashMap<ConnectionId, Health>, at: UnixMs) -> bool {
        let mut known = self.lock();
        let known = known.entry(provider.clone()).or_default();
        let window = at.0.unsigned_abs() / self.rules.window_ms.max(1);
        if known.window != window {
            (known.window, known.called) = (window, HashSet::new());
        }
        let is_news = |(connection, ended): (&ConnectionId, &Health)| {
            *ended != Health::Well { after_failure: false }
                || known.failing.contains(connection)
                || !known.called.contains(connection)
        };
        known.incident.is_some() && !ended.is_empty() || ended.iter().any(is_news)
    }

    async fn ask(
        &self,
        provider: &ProviderName,
        notes: &Notes<'_>,
        now: Option<UnixMs>,
    ) -> Result<Reply, RedisError> {
        let at = now.map_or(String::new(), |at| at.0.to_string());
        let (rules, notes) = (self.note.pack(&self.rules)?, self.note.pack(notes)?);
        self.note.ask(&self.redis, &self.keys.anchor(provider), &[at.as_bytes(), &rules, &notes]).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ProviderName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reply {
    fn incident(&self) -> Option<Incident> {
        (!self.outcome.is_empty()).then(|| Incident {
            outcome: self.outcome.clone(),
            since: UnixMs(self.since as i64),
            failing: self.failing,
            called: self.called,
            next_probe: (self.next_probe > 0.0).then_some(UnixMs(self.next_probe as i64)),
        })
    }
}
