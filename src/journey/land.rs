//! Ends calls in batches: record, then cache, then settle.

use super::batch::{Batch, slot};
use super::{Ended, Journey, JourneyError, Policy, Wanted, decide, past};
use crate::cache::{Slot, Stored};
use crate::postgres::PostgresError;
use crate::preference::refusals;
use crate::record::{self, Failure, Observation, Written};
use crate::retry::RECONNECT;
use crate::take::{FailureKind, Settlement, Verdict};
use crate::watch;
use crate::words::{DeviceId, JobId, Outcome, TenantId};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Calls per batch, so that one SQL statement stays small.
const BATCH: usize = 256;

/// What a batch held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landed {
    /// Calls that ended.
    pub ended: usize,
    /// Of these, the calls that were sent; the others were handed back.
    pub sent: usize,
}

impl Journey {
    /// Waits until a call has ended, then finishes all that have.
    pub async fn land(&self) -> Result<Landed, JourneyError> {
        let ended = self.next_ended().await;
        self.finish(&ended).await?;
        let sent = ended.iter().filter(|call| call.sent_at.is_some()).count();
        Ok(Landed { ended: ended.len(), sent })
    }

    /// Waits until a call has ended. Cancel-safe: dropping the future loses no call.
    pub(super) async fn next_ended(&self) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.ended_out.lock().await.recv_many(&mut ended, BATCH).await;
        ended
    }

    /// Record, then cache, then settle.
    pub(super) async fn finish(&self, ended: &[Ended]) -> Result<(), JourneyError> {
        let has_incident = self.note_incident(ended).await?;
        let mut batch = self.decide_all(ended, has_incident);
        self.note_unsolicited(ended, &mut batch).await?;
        let slots = self.record(&mut batch).await?;
        let tenants = answered(ended).map(|wanted| wanted.tenant).collect();
        let mut cached = self.fill_cache(&slots, &tenants).await;
        self.forget_probing(&batch).await;
        self.settle(&batch).await?;
        if cached.is_none() {
            // Redis is back: without this, readers would see its old values until the next run.
            cached = self.fill_cache(&slots, &tenants).await;
        }
        let Stored { mut incomplete, awaited } = cached.unwrap_or_default();
        if !awaited.is_empty() {
            self.publish_ended(ended, &batch, &awaited).await;
        }
        incomplete.extend(batch.probing.iter().map(|(_, device)| *device));
        self.complete(incomplete);
        Ok(())
    }

    fn decide_all(&self, ended: &[Ended], has_incident: bool) -> Batch {
        let policy = Policy::of(&self.app.settings);
        let mut batch = Batch::default();
        for call in ended {
            let mut verdicts = call.unserved.clone();
            batch.stats.calls += u64::from(call.sent_at.is_some());
            batch.stats.rejected += call.rejected.len() as u64;
            self.log_rejected(call);
            if let (None, Some((_, Outcome::NotSent { reason }))) = (call.sent_at, call.outcomes.first()) {
                batch.stats.hand_back(reason);
            }
            for (job, outcome) in &call.outcomes {
                let Some(wanted) = call.wanted.get(job) else { continue };
                let sent_at = call.sent_at.unwrap_or(call.fetched_at);
                let decision = decide(outcome, &wanted.granted, sent_at, &policy, &mut rand::rng());
                let decision = if has_incident { decision.of_provider() } else { decision };
                batch.stats.outcome(outcome.as_str());
                if let Some(sent_at) = call.sent_at {
                    batch.stats.lag(sent_at.since_ms(wanted.granted.due));
                }
                batch.note(&self.provider, call, *job, outcome, decision);
                verdicts.push((*job, decision.verdict));
            }
            batch.settlements.push(Settlement {
                call: call.grant.call,
                end: call.end,
                jobs: verdicts,
                holds: call.holds.clone(),
                unsolicited: Vec::new(),
            });
        }
        batch
    }

    /// One line per call, whatever its number of devices.
    fn log_rejected(&self, call: &Ended) {
        if let Some(first) = call.rejected.first() {
            let (provider, resource) = (&self.provider.name, call.grant.resource.as_str());
            let (device, reason, count) = (first.external_id.as_deref(), &first.reason, call.rejected.len());
            tracing::debug!(%provider, resource, device, reason, count, "values were left out of records");
        }
    }

    /// Unsolicited records refresh the jobs of their devices too.
    async fn note_unsolicited(&self, ended: &[Ended], batch: &mut Batch) -> Result<(), JourneyError> {
        let mut asked = Vec::new();
        for call in ended.iter().filter(|call| call.sent_at.is_some()) {
            let Some(one) = call.wanted.keys().next() else { continue };
            let ids = call.unsolicited.iter().filter_map(|record| record.external_id.as_deref());
            asked.extend(ids.map(|id| (*one, id)));
        }
        let mut found = self.with_retry(|| record::read_siblings(&self.app.pool, &asked)).await?;
        for (call, settlement) in ended.iter().zip(&mut batch.settlements) {
            let Some(sent_at) = call.sent_at else { continue };
            let source = self.provider.resource(call.grant.resource.as_str());
            let mut records: HashMap<_, _> =
                call.unsolicited.iter().map(|r| (r.external_id.as_deref().unwrap_or_default(), r)).collect();
            for row in call.wanted.keys().filter_map(|job| found.remove(job)).flatten() {
                let Some(record) = records.remove(row.external_id.as_str()) else { continue };
                settlement.unsolicited.push((JobId(row.job_id), sent_at));
                if row.failing {
                    batch.recovered.push(row.job_id);
                }
                batch.observations.push(Observation {
                    tenant: TenantId(row.tenant_id),
                    device: DeviceId(row.device_id),
                    resource: call.grant.resource.clone(),
                    job: JobId(row.job_id),
                    call: call.grant.call,
                    fetched_at: call.fetched_at,
                    online: Some(record.online),
                    validator: call.validators.all.clone(),
                    stale_after: source.and_then(|resource| resource.stale_after),
                    offline_after: source.and_then(|resource| resource.offline_after),
                    older_replaces: source.is_some_and(|resource| resource.older_replaces),
                    record: Some(past(record, call.fetched_at, &mut batch.stats.rejected)),
                    has_data: true,
                });
            }
        }
        Ok(())
    }

    /// Before settle: a crash in between only means that the calls are made again. Returns what goes into the cache.
    async fn record(&self, batch: &mut Batch) -> Result<Vec<Slot>, JourneyError> {
        let pool = &self.app.pool;
        // Failures first: an answer without data writes both, and whoever reads in between must not take it for a good
        // one.
        self.write_failures(&batch.failures).await?;
        let (written, rejected) = self.write_readings(&batch.observations).await?;
        self.write_failures(&rejected).await?;
        batch.reject(rejected);
        self.with_retry(|| record::recover(pool, &batch.recovered)).await?;
        self.with_retry(|| refusals::restore(pool, &batch.restored)).await?;
        let mut off = Vec::new();
        for ((connection, version), (reason, jobs)) in std::mem::take(&mut batch.refused) {
            let marked =
                self.with_retry(|| refusals::needs_reauth(pool, connection, &reason, version)).await?;
            match marked {
                Some(all) => {
                    off.extend(all);
                    tracing::warn!(connection = connection.0, reason, "connection needs a new credential");
                }
                // Its secrets are newer than those that were refused: the jobs run with them, and start at no failure.
                None => batch.redirect(&jobs, Verdict::Later(0, FailureKind::Transient)),
            }
        }
        self.app.queue.drop(&self.provider.name, &off).await?;
        Ok(written.iter().filter_map(slot).collect())
    }

    /// Writes the batch in one statement. If Postgres rejects its content, writes the readings one by one, so that one
    /// bad reading loses no other.
    async fn write_readings(
        &self,
        all: &[Observation],
    ) -> Result<(Vec<Written>, Vec<Failure>), JourneyError> {
        let pool = &self.app.pool;
        match self.with_retry(|| record::write(pool, all)).await {
            Ok(written) => return Ok((written, Vec::new())),
            Err(JourneyError::Postgres(error)) if !error.is_outage() => {
                let provider = &self.provider.name;
                tracing::error!(%provider, %error, "Postgres rejected a batch of readings; writing one by one");
            }
            Err(error) => return Err(error),
        }
        let (mut written, mut rejected) = (Vec::new(), Vec::new());
        for one in all {
            match self.with_retry(|| record::write(pool, std::slice::from_ref(one))).await {
                Ok(rows) => written.extend(rows),
                Err(JourneyError::Postgres(error)) if !error.is_outage() => rejected.push(Failure {
                    tenant: one.tenant,
                    job: one.job,
                    call: one.call,
                    at: one.fetched_at,
                    outcome: "broken",
                    detail: format!("Postgres rejects the reading: {error}"),
                    failing: true,
                    probing: false,
                }),
                Err(error) => return Err(error),
            }
        }
        Ok((written, rejected))
    }

    /// Likewise; a failure that cannot be stored is only logged.
    async fn write_failures(&self, all: &[Failure]) -> Result<(), JourneyError> {
        let pool = &self.app.pool;
        match self.with_retry(|| record::write_failures(pool, all)).await {
            Err(JourneyError::Postgres(error)) if !error.is_outage() => {}
            other => return other,
        }
        for one in all {
            match self.with_retry(|| record::write_failures(pool, std::slice::from_ref(one))).await {
                Err(JourneyError::Postgres(error)) if !error.is_outage() => {
                    tracing::error!(job = one.job.0, %error, "a job's failure cannot be stored");
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// The cache is derived, so an error does not stop the settle. Returns the devices that it has only in part, and
    /// the tenants with somebody who waits for the end of a refresh; none if it was not written.
    async fn fill_cache(&self, slots: &[Slot], tenants: &BTreeSet<TenantId>) -> Option<Stored> {
        let put = self.app.cache.put_and_ask(slots, tenants).await;
        if let Err(error) = &put {
            tracing::warn!(provider = %self.provider.name, %error, "readings are recorded but not cached");
        }
        put.ok()
    }

    /// Publishes that calls have ended. If it fails, those who wait notice when they read the refresh again.
    async fn publish_ended(&self, ended: &[Ended], batch: &Batch, awaited: &[TenantId]) {
        let asked = answered(ended).map(|wanted| (wanted.tenant, wanted.device));
        // Also of devices that were not asked for.
        let devices = asked.chain(batch.observations.iter().map(|it| (it.tenant, it.device)));
        let devices = devices.filter(|(tenant, _)| awaited.contains(tenant)).collect();
        if let Err(error) = self.app.cache.publish_ended(&devices).await {
            tracing::debug!(provider = %self.provider.name, %error, "ends of calls are not published");
        }
    }

    /// Caches the rest of devices: whatever has a reading can be read while Postgres is away. Calls that land next do
    /// not wait for it.
    fn complete(&self, devices: Vec<DeviceId>) {
        if devices.is_empty() {
            return;
        }
        let app = self.app.clone();
        self.app.detached.spawn(async move {
            if let Err(error) = app.load_devices(None, &devices).await {
                tracing::debug!(%error, "devices not cached; their next readings do it");
            }
        });
    }

    async fn forget_probing(&self, batch: &Batch) {
        // On failure readers see the devices' old state until their next change.
        if let Err(error) = self.app.cache.forget(batch.probing.iter().copied()).await {
            tracing::debug!(devices = batch.probing.len(), %error, "cached devices not invalidated");
        }
    }

    async fn settle(&self, batch: &Batch) -> Result<(), JourneyError> {
        let deadline = self.deadline();
        for failures in 0.. {
            match self.client.taker.settle(&batch.settlements, None).await {
                Ok(settled) => {
                    if !settled.stale.is_empty() {
                        let (provider, calls) = (&self.provider.name, settled.stale.len());
                        tracing::warn!(%provider, calls, "lease expired before settle; results were ignored");
                    }
                    if let Some(wait_ms) = settled.wake_in_ms {
                        self.wake.at(Instant::now() + Duration::from_secs_f64(wait_ms / 1000.0)
                            - self.client.taker.look_ahead());
                    }
                    if failures > 0 {
                        // An attempt whose response was lost may have settled all, and its wake time is unknown.
                        self.wake.at(Instant::now());
                    }
                    break;
                }
                Err(error) if Instant::now() < deadline => self.pause(error.to_string(), failures).await,
                Err(error) => return Err(error.into()),
            }
        }
        let (redis, keys) = (&self.app.redis, &self.app.keys);
        let added = watch::add(redis, keys, &self.provider.name, self.app.clock.now(), &batch.stats).await;
        if let Err(error) = added {
            tracing::debug!(provider = %self.provider.name, %error, "stats lost");
        }
        Ok(())
    }

    /// Retries while Postgres is away, for as long as the leases last.
    pub(super) async fn with_retry<T, F: Future<Output = Result<T, PostgresError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, JourneyError> {
        let deadline = self.deadline();
        let mut failures = 0;
        loop {
            match attempt().await {
                Err(error) if error.is_outage() && Instant::now() < deadline => {
                    self.pause(error.to_string(), failures).await;
                    failures += 1;
                }
                other => return other.map_err(JourneyError::from),
            }
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.app.settings.take.lease.as_ms())
    }

    async fn pause(&self, error: String, failures: u32) {
        tracing::warn!(provider = %self.provider.name, error, "will try again");
        let delay = RECONNECT.wait(failures, &mut rand::rng());
        sleep(delay).await;
    }
}

/// The jobs whose calls came to something.
fn answered(ended: &[Ended]) -> impl Iterator<Item = &Wanted> {
    ended.iter().flat_map(|call| {
        let jobs = call.outcomes.iter().filter(|(_, outcome)| !matches!(outcome, Outcome::NotSent { .. }));
        jobs.filter_map(|(job, _)| call.wanted.get(job))
    })
}
