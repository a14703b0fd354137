//! The one caller of `take.lua`, `settle.lua` and `reserve.lua`, and of `holds.lua` and `lift.lua`.

use super::distance::{Distance, Meter};
use super::holds::{ActiveHold, HoldHolder, HoldRow};
use super::reserve::{Reservation, ReserveReply, ReserveRequest};
use super::room::Room;
use super::settings::TakerSettings;
use super::settle;
use super::spec::Spec;
use super::{Settled, Settlement, Taken};
use crate::provider::Provider;
use crate::redis::{Module, Redis, RedisError, Script};
use crate::words::{CallId, JobId, ProviderName, UnixMs};
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Takes and settles calls of one provider.
pub struct Taker {
    redis: Redis,
    anchor: String,
    take: Script,
    settle: Script,
    reserve: Script,
    holds: Script,
    lift: Script,
    spec: Mutex<SpecCache>,
    meter: Mutex<Meter>,
    /// How late calls may be sent in any case.
    tolerance: Duration,
    /// The provider of the calls.
    pub provider: ProviderName,
    /// The most jobs of one call.
    call_jobs_max: usize,
}

/// The spec, and how it was last packed.
struct SpecCache {
    spec: Spec,
    packed: Vec<u8>,
    /// The last instant observed: the window boundaries of calendar quotas are those around it.
    now: UnixMs,
}

/// Modules for take, settle and reserve. Each stands after those it uses.
const MODULES: &[Module] = &[
    Module("Run", include_str!("lua/run.lua")),
    Module("Gcra", include_str!("lua/quota/gcra.lua")),
    Module("VariableLimit", include_str!("lua/quota/variable_limit.lua")),
    Module("Gauge", include_str!("lua/quota/gauge.lua")),
    Module("State", include_str!("lua/quota/state.lua")),
    Module("ActiveHolds", include_str!("lua/quota/active_holds.lua")),
    Module("Places", include_str!("lua/quota/places.lua")),
    Module("Chain", include_str!("lua/quota/chain.lua")),
    Module("Probe", include_str!("lua/take/probe.lua")),
    Module("Found", include_str!("lua/take/found.lua")),
    Module("Rank", include_str!("lua/take/rank.lua")),
    Module("Waitlist", include_str!("lua/take/waitlist.lua")),
    Module("Heap", include_str!("lua/take/heap.lua")),
    Module("Contenders", include_str!("lua/take/contenders.lua")),
    Module("Gather", include_str!("lua/take/gather.lua")),
    Module("Room", include_str!("lua/take/room.lua")),
    Module("Grant", include_str!("lua/take/grant.lua")),
    Module("Serve", include_str!("lua/take/serve.lua")),
    Module("Ahead", include_str!("lua/take/ahead.lua")),
    Module("Write", include_str!("lua/take/write.lua")),
    Module("Ended", include_str!("lua/settle/ended.lua")),
    Module("Jobs", include_str!("lua/settle/jobs.lua")),
    Module("Quotas", include_str!("lua/settle/quotas.lua")),
];

impl Taker {
    /// The taker of a provider's calls.
    pub fn new(redis: Redis, provider: &Provider, settings: &TakerSettings) -> Self {
        let spec = Spec::of(provider, settings);
        let tolerance = settings.tolerance_for(provider);
        let call_jobs_max = spec.call_jobs_max();
        Self {
            redis,
            anchor: settings.keys.anchor(&provider.name),
            take: Script::new("take", include_str!("lua/take.lua"), MODULES),
            settle: Script::new("settle", include_str!("lua/settle.lua"), MODULES),
            reserve: Script::new("reserve", include_str!("lua/reserve.lua"), MODULES),
            holds: Script::new("holds", include_str!("lua/holds.lua"), MODULES),
            lift: Script::new("lift", include_str!("lua/lift.lua"), MODULES),
            spec: Mutex::new(SpecCache { spec, packed: Vec::new(), now: UnixMs(0) }),
            meter: Mutex::new(Meter::new(tolerance)),
            tolerance,
            provider: provider.name.clone(),
            call_jobs_max,
        }
    }

    /// The same taker on changed scripts, for tests that break them on purpose.
    ///
    /// `change` gets each script's name and text.
    pub fn with_scripts(mut self, change: impl Fn(&str, String) -> String) -> Self {
        self.take = self.take.changed(|text| change("take", text));
        self.settle = self.settle.changed(|text| change("settle", text));
        self.reserve = self.reserve.changed(|text| change("reserve", text));
        self
    }

    /// Takes up to `calls` calls. `now` is for tests; `None` is Redis's clock.
    pub async fn take(&self, calls: usize, now: Option<UnixMs>) -> Result<Taken, RedisError> {
        self.take_within(calls, None, now).await
    }

    /// Likewise, and of each connection no more than there is room for.
    pub async fn take_within(
        &self,
        calls: usize,
        room: Option<&Room>,
        now: Option<UnixMs>,
    ) -> Result<Taken, RedisError> {
        self.redis.usable()?;
        let spec = self.packed(now)?;
        let room = room.map(|room| self.take.pack(room)).transpose()?.unwrap_or_default();
        let (at, calls) = (now_arg(now), calls.to_string());
        let args = [at.as_bytes(), &spec, calls.as_bytes(), &room];
        let asked = Instant::now();
        let taken: Taken = self.take.ask(&self.redis, &self.anchor, &args).await?;
        self.observe_time(taken.now);
        if now.is_none() {
            self.measure(|meter| meter.note_round_trip(asked.elapsed(), taken.script_ms));
        }
        Ok(taken)
    }

    /// Takes in how long it took from asking for calls to knowing their targets.
    pub fn observe_handling(&self, took: Duration) {
        self.measure(|meter| meter.note_handling(took));
    }

    fn measure(&self, note: impl FnOnce(&mut Meter)) {
        let distance = {
            let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut meter);
            meter.distance()
        };
        let before = self.set_distance(distance);
        let provider = &self.provider;
        if distance.late_ms > before.late_ms {
            let (late_ms, lost) = (distance.late_ms, self.share_lost(distance));
            tracing::warn!(
                %provider, late_ms, share_of_quota_lost = lost,
                "Redis is far: the provider's windows are stretched by this; run Paceline nearer to Redis to use more"
            );
        }
        if distance.lead_ms > 0 && before.lead_ms == 0 {
            let lead_ms = distance.lead_ms;
            tracing::info!(
                %provider, lead_ms,
                "Redis or Postgres is far: calls are granted this long ahead; devices are fresher if both are near"
            );
        }
    }

    /// The share of the shortest window that lateness costs.
    fn share_lost(&self, distance: Distance) -> f64 {
        let cache = self.spec.lock().unwrap_or_else(PoisonError::into_inner);
        let late_ms = distance.late_ms as f64;
        cache
            .spec
            .shortest_span_ms()
            .map_or(0.0, |span_ms| (late_ms / (span_ms + late_ms) * 100.0).round() / 100.0)
    }

    /// Sets what this process's grants need because of its distance from the servers. It is measured by itself; tests
    /// that make time up say it. Returns what it was.
    pub fn set_distance(&self, distance: Distance) -> Distance {
        let mut cache = self.spec.lock().unwrap_or_else(PoisonError::into_inner);
        let before = cache.spec.set_distance(distance);
        if before != distance {
            cache.packed.clear();
        }
        before
    }

    /// What this process's grants need because of its distance from the servers.
    pub fn distance(&self) -> Distance {
        self.spec.lock().unwrap_or_else(PoisonError::into_inner).spec.distance()
    }

    /// How long before its due instant a job is taken.
    pub fn look_ahead(&self) -> Duration {
        self.spec.lock().unwrap_or_else(PoisonError::into_inner).spec.look_ahead()
    }

    /// How late a call may be sent, where the scripts said `late_ms`.
    pub fn tolerance(&self, late_ms: f64) -> Duration {
        self.tolerance + Duration::from_secs_f64(late_ms / 1000.0)
    }

    /// Asks all quotas for one ad-hoc call, which is settled like any other.
    pub async fn reserve(
        &self,
        request: &ReserveRequest,
        now: Option<UnixMs>,
    ) -> Result<Reservation, RedisError> {
        self.redis.usable()?;
        let (spec, request) = (self.packed(now)?, self.reserve.pack(request)?);
        let asked = Instant::now();
        let reply: ReserveReply =
            self.reserve.ask(&self.redis, &self.anchor, &[now_arg(now).as_bytes(), &spec, &request]).await?;
        self.observe_time(reply.now);
        if now.is_none() {
            self.measure(|meter| meter.note_round_trip(asked.elapsed(), 0.0));
        }
        Ok(reply.into())
    }

    /// What is held. `now` is for tests; `None` is Redis's clock.
    pub async fn holds(&self, now: Option<UnixMs>) -> Result<Vec<ActiveHold>, RedisError> {
        let spec = self.packed(now)?;
        let rows: Vec<HoldRow> =
            self.holds.ask(&self.redis, &self.anchor, &[now_arg(now).as_bytes(), &spec]).await?;
        Ok(rows.into_iter().filter_map(HoldRow::read).collect())
    }

    /// Ends holds before their time: those of these holders, or all. Returns those that were lifted.
    pub async fn lift(
        &self,
        holders: &[HoldHolder],
        now: Option<UnixMs>,
    ) -> Result<Vec<ActiveHold>, RedisError> {
        self.redis.usable()?;
        let wanted: Vec<_> = holders.iter().map(HoldHolder::fields).collect();
        let (spec, wanted) = (self.packed(now)?, self.lift.pack(&wanted)?);
        let rows: Vec<HoldRow> =
            self.lift.ask(&self.redis, &self.anchor, &[now_arg(now).as_bytes(), &spec, &wanted]).await?;
        Ok(rows.into_iter().filter_map(HoldRow::read).collect())
    }

    /// Ends calls. Returns those whose leases had expired: nothing was changed for them.
    ///
    /// One script handles about a thousand jobs; more go to further ones.
    pub async fn settle(
        &self,
        settlements: &[Settlement],
        now: Option<UnixMs>,
    ) -> Result<Settled, RedisError> {
        let mut order: Vec<&Settlement> = settlements.iter().collect();
        settle::order(&mut order);
        let mut settled = Settled::default();
        for chunk in settle::chunks(&order, self.call_jobs_max) {
            let reply = self.settle_chunk(&settle::leases(chunk), &[], now).await?;
            let stale: Vec<CallId> =
                reply.stale.iter().filter_map(|at| chunk.get(*at)).map(|s| s.call).collect();
            settled.wake_by(reply.wake_ms);
            let live = chunk.iter().filter(|settlement| !stale.contains(&settlement.call));
            for jobs in live.flat_map(|settlement| settlement.further_unsolicited()) {
                settled.wake_by(self.settle_chunk(&[], jobs, now).await?.wake_ms);
            }
            settled.stale.extend(stale);
        }
        Ok(settled)
    }

    async fn settle_chunk(
        &self,
        leases: &[settle::Lease<'_>],
        unsolicited: &[(JobId, UnixMs)],
        now: Option<UnixMs>,
    ) -> Result<SettleReply, RedisError> {
        let (spec, leases) = (self.packed(now)?, self.settle.pack(&leases)?);
        let unsolicited = self.settle.pack(&settle::unsolicited_rows(unsolicited))?;
        let at = now_arg(now);
        self.settle.ask(&self.redis, &self.anchor, &[at.as_bytes(), &spec, &leases, &unsolicited]).await
    }

    /// A script that finds the window boundaries past answers with its time, and the next has them right.
    fn packed(&self, now: Option<UnixMs>) -> Result<Vec<u8>, RedisError> {
        let mut cache = self.spec.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now.unwrap_or(cache.now);
        if cache.packed.is_empty() || cache.spec.follows_the_calendar() {
            cache.spec.set_boundaries(now);
            cache.packed = self.take.pack(&cache.spec)?;
        }
        Ok(cache.packed.clone())
    }

    /// Notes the time, as every take does: the window boundaries of calendar quotas are those around it.
    pub fn observe_time(&self, now: UnixMs) {
        self.spec.lock().unwrap_or_else(PoisonError::into_inner).now = now;
    }
}

/// What `settle.lua` returns.
#[derive(Deserialize)]
struct SettleReply {
    stale: Vec<usize>,
    wake_ms: f64,
}

/// A script's instant: empty is Redis's own.
fn now_arg(now: Option<UnixMs>) -> String {
    now.map_or(String::new(), |at| at.0.to_string())
}
