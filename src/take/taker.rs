//! The one caller of `take.lua`, `settle.lua` and `leave.lua`.

use super::reserve::{Reservation, ReserveReply, ReserveRequest};
use super::settings::TakerSettings;
use super::settle;
use super::spec::Spec;
use super::{Settled, Settlement, Taken};
use crate::provider::Provider;
use crate::redis::{Redis, RedisError, Script};
use crate::words::{ProviderName, UnixMs};
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};

/// Takes and settles calls of one provider.
pub struct Taker {
    redis: Redis,
    anchor: String,
    take: Script,
    settle: Script,
    leave: Script,
    spec: Mutex<Spoken>,
    /// Whose calls.
    pub provider: ProviderName,
}

/// What the scripts are told, and how it was last written.
struct Spoken {
    spec: Spec,
    packed: Vec<u8>,
    /// The last instant heard of, by which the calendar's turns are told.
    now: UnixMs,
}

const TERMS: &str = include_str!("lua/terms.lua");
const PACE: &str = include_str!("lua/pace.lua");
const CHAIN: &str = include_str!("lua/chain.lua");
const RANK: &str = include_str!("lua/rank.lua");
const GATHER: &str = include_str!("lua/gather.lua");
const GRANT: &str = include_str!("lua/grant.lua");
const WRITE: &str = include_str!("lua/write.lua");

impl Taker {
    /// The taker of a provider's calls.
    pub fn new(redis: Redis, provider: &Provider, settings: &TakerSettings) -> Self {
        let spec = Spec::of(provider, settings);
        Self {
            redis,
            anchor: settings.keys.anchor(&provider.name),
            take: Script::of_parts(
                "take",
                &[TERMS, PACE, CHAIN, RANK, GATHER, GRANT, include_str!("lua/take.lua"), WRITE],
            ),
            settle: Script::of_parts("settle", &[TERMS, PACE, CHAIN, include_str!("lua/settle.lua")]),
            leave: Script::of_parts("leave", &[TERMS, PACE, CHAIN, include_str!("lua/leave.lua")]),
            spec: Mutex::new(Spoken { spec, packed: Vec::new(), now: UnixMs(0) }),
            provider: provider.name.clone(),
        }
    }

    /// The same taker on scripts that were changed: what a test must be able to see fail.
    ///
    /// `change` is given each script's name and text.
    pub fn with_scripts(mut self, change: impl Fn(&str, String) -> String) -> Self {
        self.take = self.take.changed(|text| change("take", text));
        self.settle = self.settle.changed(|text| change("settle", text));
        self.leave = self.leave.changed(|text| change("leave", text));
        self
    }

    /// Takes up to `calls` calls. `now` is for tests; `None` is Redis's own clock.
    pub async fn take(&self, calls: usize, now: Option<UnixMs>) -> Result<Taken, RedisError> {
        self.redis.usable()?;
        let spec = self.packed(now)?;
        let (at, calls) = (now_arg(now), calls.to_string());
        let args = [at.as_bytes(), &spec, calls.as_bytes()];
        let taken: Taken = self.take.ask(&self.redis, &self.anchor, &args).await?;
        self.hear(taken.now);
        Ok(taken)
    }

    /// Asks leave for one call outside of the schedule, which is settled like any other.
    pub async fn reserve(
        &self,
        request: &ReserveRequest,
        now: Option<UnixMs>,
    ) -> Result<Reservation, RedisError> {
        self.redis.usable()?;
        let (spec, request) = (self.packed(now)?, self.leave.pack(request)?);
        let said: ReserveReply =
            self.leave.ask(&self.redis, &self.anchor, &[now_arg(now).as_bytes(), &spec, &request]).await?;
        self.hear(said.now);
        Ok(said.into())
    }

    /// Ends calls. Those that were no longer held are told: nothing was changed for them.
    pub async fn settle(
        &self,
        settlements: &[Settlement],
        now: Option<UnixMs>,
    ) -> Result<Settled, RedisError> {
        let mut order: Vec<&Settlement> = settlements.iter().collect();
        settle::order(&mut order);
        let (spec, packed) = (self.packed(now)?, self.settle.pack(&settle::leases(&order))?);
        let at = now_arg(now);
        let told: Told = self.settle.ask(&self.redis, &self.anchor, &[at.as_bytes(), &spec, &packed]).await?;
        let stale = told.stale.iter().filter_map(|at| order.get(*at)).map(|s| s.call).collect();
        Ok(Settled { stale, wake_in_ms: (told.wake_ms >= 0.0).then_some(told.wake_ms) })
    }

    /// The calendar's turns are told by the last instant heard of; a script that finds them past says so by its time.
    fn packed(&self, now: Option<UnixMs>) -> Result<Vec<u8>, RedisError> {
        let mut spoken = self.spec.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now.unwrap_or(spoken.now);
        if spoken.packed.is_empty() || spoken.spec.follows_the_calendar() {
            spoken.spec.turn(now);
            spoken.packed = self.take.pack(&spoken.spec)?;
        }
        Ok(spoken.packed.clone())
    }

    /// Learns what time it is, as every take does: quotas that follow a calendar are told by it.
    pub fn hear(&self, now: UnixMs) {
        self.spec.lock().unwrap_or_else(PoisonError::into_inner).now = now;
    }
}

#[derive(Deserialize)]
struct Told {
    stale: Vec<usize>,
    wake_ms: f64,
}

/// A script's instant: empty is Redis's own.
fn now_arg(now: Option<UnixMs>) -> String {
    now.map_or(String::new(), |at| at.0.to_string())
}
