//! Putting jobs into the schedule, taking them out, and finding them.

use crate::redis::agreed::{BUCKET_BLOCK, BUCKET_DIGITS, BUCKET_HASHES};
use crate::redis::{Keys, Module, Redis, RedisError, Script};
use crate::words::{Interval, Job, JobId, ProviderName, UnixMs};
use serde::Deserialize;
use std::sync::Arc;

/// A job as it goes into the schedule.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The job.
    pub job: Job,
    /// Where in each interval its grid has its point, ms.
    pub offset_ms: u32,
    /// Its last success, if any.
    pub last_run: Option<UnixMs>,
    /// Since when it is wanted: one that never ran waits since then, however often Redis is lost. None: since now.
    pub wanted_since: Option<UnixMs>,
    /// Whether a call for it may serve others too.
    pub shared: bool,
    /// How its lane weighs among lanes: twice the weight, twice the share.
    pub weight: u32,
    /// What its last calls failed by, in case the schedule has forgotten the job.
    pub failures: Option<FailuresInARow>,
}

/// How often a job has failed in a row, as its record has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailuresInARow {
    /// How often.
    pub attempts: u8,
    /// In which way.
    pub kind: u8,
    /// It is due at the first point of its grid after this.
    pub due_after: UnixMs,
}

/// Where the schedule has a job. Exactly one of `due`, `ready` and `leased` holds for one that is well.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct JobLocation {
    /// Its record can be read.
    pub known: bool,
    /// It waits for its time.
    pub due: bool,
    /// Its time has come; it waits in rank.
    pub ready: bool,
    /// A call is fetching it.
    pub leased: bool,
    /// When it is or was due, ms.
    pub due_ms: i64,
    /// Its last run, ms; 0 for none.
    pub last_ms: i64,
    /// The interval the schedule works with, ms.
    pub interval_ms: u32,
    /// The priority class the schedule works with.
    pub class: u8,
    /// The version of the preference it has.
    pub version: i64,
    /// Its lane.
    pub lane: String,
    /// Whether the lane competes or is blocked: a ready job in one that does neither would wait for ever.
    pub lane_awake: bool,
    /// Until when it must wait, ms since the epoch; 0: nothing holds it back, or not before a call ends.
    pub until_ms: f64,
    /// The quota or hold that does not allow it before; empty for none.
    pub blocked_by: String,
    /// "Refresh now" was asked for, and it has not run since.
    pub urgent: bool,
}

impl JobLocation {
    /// Whether the job is in exactly one location.
    pub fn is_sound(&self) -> bool {
        self.known
            && (self.lane_awake || !self.ready)
            && [self.due, self.ready, self.leased].into_iter().filter(|here| *here).count() == 1
    }
}

const ADMISSION: Module = Module("Admission", include_str!("lua/admission.lua"));

/// The most jobs in one script call: Lua's `unpack` has a bound, and Redis serves nobody else meanwhile.
pub(super) const BATCH: usize = 500;
/// Hashes of records that one call of the `ids` script reads: about 8,000 jobs.
const HASHES: i64 = 128;

/// The schedule in Redis.
#[derive(Clone)]
pub struct Queue {
    pub(super) redis: Redis,
    pub(super) keys: Keys,
    pub(super) scripts: Arc<Scripts>,
    spread: Interval,
}

pub(super) struct Scripts {
    put: Script,
    drop: Script,
    pub(super) refresh: Script,
    locate: Script,
    ids: Script,
    live: Script,
    revive: Script,
    built: Script,
    pub(super) put_quota_inputs: Script,
    pub(super) get_quota_inputs: Script,
    pub(super) holders: Script,
    pub(super) forget: Script,
}

impl Queue {
    /// A queue that spreads first runs over at most `spread`.
    pub fn new(redis: Redis, keys: Keys, spread: Interval) -> Self {
        let scripts = Scripts {
            put: Script::new("put", include_str!("lua/put.lua"), &[]),
            drop: Script::new("drop", include_str!("lua/drop.lua"), &[]),
            refresh: Script::new("refresh", include_str!("lua/refresh.lua"), &[ADMISSION]),
            locate: Script::new("locate", include_str!("lua/locate.lua"), &[]),
            ids: Script::new("ids", include_str!("lua/ids.lua"), &[]),
            live: Script::new("live", include_str!("lua/live.lua"), &[]),
            revive: Script::new("revive", include_str!("lua/revive.lua"), &[]),
            built: Script::new("built", include_str!("lua/built.lua"), &[]),
            put_quota_inputs: Script::new("put_quota_inputs", include_str!("lua/put_quota_inputs.lua"), &[]),
            get_quota_inputs: Script::new("get_quota_inputs", include_str!("lua/get_quota_inputs.lua"), &[]),
            holders: Script::new("holders", include_str!("lua/holders.lua"), &[]),
            forget: Script::new("forget", include_str!("lua/forget.lua"), &[]),
        };
        Self { redis, keys, scripts: Arc::new(scripts), spread }
    }

    /// Makes the schedule know these jobs of one provider as their owners now want them. Idempotent.
    pub async fn put(&self, provider: &ProviderName, entries: &[Entry]) -> Result<(), RedisError> {
        self.put_at(provider, entries, None).await
    }

    /// [`Self::put`] at a given instant; `None` is Redis's own.
    pub async fn put_at(
        &self,
        provider: &ProviderName,
        entries: &[Entry],
        now: Option<UnixMs>,
    ) -> Result<(), RedisError> {
        let anchor = self.keys.anchor(provider);
        let (now, spread) = (now_arg(now), self.spread.as_ms().to_string());
        for batch in entries.chunks(BATCH) {
            let rows: Vec<_> = batch.iter().map(row).collect();
            let packed = self.scripts.put.pack(&rows)?;
            self.scripts
                .put
                .run::<i64>(&self.redis, &anchor, &[now.as_bytes(), spread.as_bytes(), &packed])
                .await?;
        }
        Ok(())
    }

    /// Makes the schedule forget these jobs of one provider, each unless it has a newer preference than this version;
    /// those that are leased, when their calls are settled.
    pub async fn drop(&self, provider: &ProviderName, jobs: &[(JobId, i64)]) -> Result<(), RedisError> {
        self.forget(provider, jobs, "").await
    }

    /// Takes these jobs out of wherever they are, at once: for repair.
    pub async fn purge(&self, provider: &ProviderName, jobs: &[JobId]) -> Result<(), RedisError> {
        let jobs: Vec<_> = jobs.iter().map(|job| (*job, i64::from(u32::MAX))).collect();
        self.forget(provider, &jobs, "1").await
    }

    async fn forget(
        &self,
        provider: &ProviderName,
        jobs: &[(JobId, i64)],
        at_once: &str,
    ) -> Result<(), RedisError> {
        let anchor = self.keys.anchor(provider);
        for batch in jobs.chunks(BATCH) {
            let ids: Vec<_> =
                batch.iter().flat_map(|(id, version)| [id.to_string(), version.to_string()]).collect();
            let args: Vec<_> =
                [at_once.as_bytes()].into_iter().chain(ids.iter().map(|id| id.as_bytes())).collect();
            self.scripts.drop.run::<i64>(&self.redis, &anchor, &args).await?;
        }
        Ok(())
    }

    /// Where each of these jobs is.
    pub async fn locate(
        &self,
        provider: &ProviderName,
        jobs: &[JobId],
    ) -> Result<Vec<JobLocation>, RedisError> {
        let anchor = self.keys.anchor(provider);
        let mut locations = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(BATCH) {
            let ids: Vec<_> = batch.iter().map(|id| id.to_string()).collect();
            let args: Vec<_> = ids.iter().map(|id| id.as_bytes()).collect();
            locations.extend(self.scripts.locate.ask::<Vec<JobLocation>>(&self.redis, &anchor, &args).await?);
        }
        Ok(locations)
    }

    /// Whether the provider's schedule was built on this run of the server, with the layout of this version.
    pub async fn is_live(&self, provider: &ProviderName) -> Result<bool, RedisError> {
        let live: i64 = self.scripts.live.run(&self.redis, &self.keys.anchor(provider), &[]).await?;
        Ok(live == 1)
    }

    /// Lets calls be granted on this run of the server. `known`: calls may have been made before, so every quota counts
    /// as spent now. `fence`: the last that Postgres has seen.
    pub async fn revive(
        &self,
        provider: &ProviderName,
        known: bool,
        fence: i64,
        now: Option<UnixMs>,
    ) -> Result<(), RedisError> {
        let (now, known, fence) = (now_arg(now), u8::from(known).to_string(), fence.to_string());
        let args = [now.as_bytes(), known.as_bytes(), fence.as_bytes()];
        self.scripts.revive.run::<i64>(&self.redis, &self.keys.anchor(provider), &args).await.map(drop)
    }

    /// Notes that every job was put.
    pub async fn mark_built(&self, provider: &ProviderName) -> Result<(), RedisError> {
        self.scripts.built.run::<i64>(&self.redis, &self.keys.anchor(provider), &[]).await.map(drop)
    }

    /// Every job the schedule knows with an id up to `last`.
    pub async fn ids(&self, provider: &ProviderName, last: JobId) -> Result<Vec<JobId>, RedisError> {
        let anchor = self.keys.anchor(provider);
        let mut found = Vec::new();
        for block in 0..=last.0 / BUCKET_BLOCK {
            for first in (0..BUCKET_HASHES).step_by(HASHES as usize) {
                // Jobs that can share a call lie by number: the same part of this block.
                let id = |hash: i64| block * BUCKET_BLOCK + hash * (BUCKET_BLOCK / BUCKET_HASHES);
                let shared = |id: i64| id / 10_i64.pow(BUCKET_DIGITS);
                let past = first + HASHES;
                let args = [block, first, past - 1, shared(id(first)), shared(id(past) - 1)];
                let args = args.map(|arg| arg.to_string());
                let args = args.each_ref().map(|arg| arg.as_bytes());
                let ids: Vec<String> = self.scripts.ids.ask(&self.redis, &anchor, &args).await?;
                found.extend(ids.iter().filter_map(|id| id.parse::<JobId>().ok()));
            }
        }
        // A hash of jobs that can share a call may lie in two parts.
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

/// A script's instant: empty is Redis's own.
pub(super) fn now_arg(now: Option<UnixMs>) -> String {
    now.map_or(String::new(), |at| at.0.to_string())
}

type Row<'a> = (String, u8, u64, u32, i64, i64, String, &'a str, i64, bool, u32, i64, u8, u8, i64);

fn row(entry: &Entry) -> Row<'_> {
    let job = &entry.job;
    let (attempts, kind, due_after) =
        entry.failures.map_or((0, 0, 0), |f| (f.attempts, f.kind, f.due_after.0));
    (
        job.id.to_string(),
        job.priority.class(),
        job.interval.as_ms(),
        entry.offset_ms,
        job.version,
        job.device.0,
        job.lane(),
        job.resource.as_str(),
        entry.last_run.map_or(0, |at| at.0),
        entry.shared,
        entry.weight,
        entry.wanted_since.map_or(0, |at| at.0),
        attempts,
        kind,
        due_after,
    )
}
