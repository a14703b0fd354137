//! Take what may be sent, find out for whom, and set it going.

use super::call::{Flight, Instants};
use super::{Ended, Journey, JourneyError, Wanted};
use crate::fetch::{Call, Target, Validators};
use crate::preference::{connections, outbox};
use crate::provider::Resource;
use crate::record::{self, TargetRow};
use crate::take::{Grant, GrantedJob, Settlement, Verdict};
use crate::words::{Connection, DeviceId, End, JobId, TenantId, UnixMs, Validator};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a pull did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// So many calls are on their way; ask again after this.
    Ran(usize, Option<Duration>),
    /// Nothing may be sent yet; ask again after this, or when something is put.
    Idle(Option<Duration>),
}

/// What Postgres knows of granted jobs.
struct Known {
    rows: HashMap<i64, TargetRow>,
    connections: HashMap<i64, Arc<Connection>>,
    /// By job.
    validators: HashMap<i64, Validator>,
}

impl Journey {
    /// One pull. Waits only for a free slot.
    pub async fn pull(&self) -> Result<Step, JourneyError> {
        // Closed never: the semaphore lives as long as the journey.
        drop(self.slots.acquire().await);
        let asked = Instant::now();
        let taken = self.taker.take(self.slots.available_permits(), None).await?;
        let received = Instant::now();
        self.app.clock.learn(taken.now);
        let wake = (taken.wake_in_ms >= 0.0).then(|| Duration::from_secs_f64(taken.wake_in_ms / 1000.0));
        if taken.reaped > 0 {
            let calls = taken.reaped;
            tracing::warn!(provider = %self.provider.name, calls, "calls of a lost worker are due again");
        }
        if !taken.corrupt.is_empty() {
            self.restore(&taken.corrupt).await;
        }
        if taken.grants.is_empty() {
            return Ok(Step::Idle(wake));
        }
        let known = match self.resolve(&taken.grants).await {
            Ok(found) => found,
            Err(error) => {
                self.hand_back(&taken.grants).await;
                return Err(error);
            }
        };
        let calls = taken.grants.len();
        for grant in taken.grants {
            // Never early: counted from when the answer came. Never late: counted from when it was asked for.
            let wait = Duration::from_secs_f64(grant.send_in_ms / 1000.0);
            let instants = Instants { send_at: received + wait, latest: asked + wait + self.tolerance };
            let planned = UnixMs(taken.now.0 + grant.send_in_ms.round() as i64);
            self.set_going(grant, instants, planned, &known);
        }
        Ok(Step::Ran(calls, wake))
    }

    /// Jobs whose records cannot be read are set aside by the script, with the reason; Postgres has them as they were.
    async fn restore(&self, jobs: &[JobId]) {
        let (provider, ids) = (&self.provider.name, jobs.iter().map(|job| job.0).collect::<Vec<_>>());
        tracing::error!(%provider, jobs = ?ids, "schedule records cannot be read; restoring them from Postgres");
        if let Err(error) = outbox::note(&self.app.pool, &ids).await {
            tracing::warn!(%provider, %error, "not restored yet; the next check does it");
        }
    }

    /// Who the granted jobs are for, and with which credentials: two queries for all of them, and a third where only
    /// what is new is asked for.
    async fn resolve(&self, grants: &[Grant]) -> Result<Known, JourneyError> {
        let ids: Vec<i64> = grants.iter().flat_map(|g| g.jobs.iter().map(|j| j.id.0)).collect();
        let rows = record::read_targets(&self.app.pool, &ids).await?;
        let mut connections: Vec<i64> = rows.iter().map(|row| row.connection_id).collect();
        connections.sort_unstable();
        connections.dedup();
        let counted = self.provider.has_quota_inputs();
        let opened = connections::open(&self.app.pool, &self.app.sealer, &connections, counted).await?;
        let keeps = |grant: &&Grant| {
            self.provider.resource(grant.resource.as_str()).is_some_and(Resource::has_validators)
        };
        let keep: Vec<i64> =
            grants.iter().filter(keeps).flat_map(|g| g.jobs.iter().map(|j| j.id.0)).collect();
        let validators = match keep.is_empty() {
            true => HashMap::new(),
            false => record::validators(&self.app.pool, &keep).await?,
        };
        Ok(Known {
            rows: rows.into_iter().map(|row| (row.job_id, row)).collect(),
            connections: opened.into_iter().map(|c| (c.id.0, Arc::new(c))).collect(),
            validators,
        })
    }

    /// Grants that cannot be used now go back unsent. If that fails too, their leases run out.
    async fn hand_back(&self, grants: &[Grant]) {
        let settlements: Vec<_> = grants.iter().map(|grant| Settlement::unsent(grant.call)).collect();
        if let Err(error) = self.taker.settle(&settlements, None).await {
            tracing::warn!(provider = %self.provider.name, %error, "grants could not be handed back; they will lapse");
        }
    }

    fn set_going(&self, grant: Grant, instants: Instants, planned: UnixMs, known: &Known) {
        let mut wanted = HashMap::new();
        let mut targets = Vec::new();
        let mut aside = Vec::new();
        let mut connection = None;
        for job in &grant.jobs {
            let usable =
                known.rows.get(&job.id.0).and_then(|r| Some((r, known.connections.get(&r.connection_id)?)));
            let Some((row, found)) = usable else {
                // Paused, parked, deleted or without credentials since the schedule last heard of it.
                aside.push((job.id, Verdict::Drop(job.version)));
                continue;
            };
            connection = Some(found.clone());
            wanted.insert(job.id, wanted_job(row, job));
            targets.push(target(row, known.validators.get(&row.job_id)));
        }
        let ended = Ended {
            sent_at: None,
            fetched_at: planned,
            wanted,
            secrets_version: connection.as_ref().map_or(0, |connection| connection.secrets_version),
            end: End::Unsent,
            outcomes: Vec::new(),
            holds: Vec::new(),
            others: Vec::new(),
            validators: Validators::default(),
            aside,
            grant,
            // Taken here, not in the task: the next pull must see it gone. Only pulls take slots, one at a time, and
            // never more calls than there were slots.
            _slot: self.slots.clone().try_acquire_owned().ok(),
        };
        let Some(connection) = connection else {
            // The receiver lives in the journey itself.
            drop(self.ended_in.send(ended));
            return;
        };
        let call = Call { connection, resource: ended.grant.resource.clone(), targets };
        let flight = Flight {
            fetcher: self.fetcher.clone(),
            authoriser: self.authoriser.clone(),
            gate: self.gate.clone(),
            terms: self.provider.quota_inputs(&call.connection.params, call.connection.devices),
            clock: self.app.clock.clone(),
            cost: self
                .provider
                .resource(call.resource.as_str())
                .map_or(1, |r| r.cost_of(call.targets.len() as u32)),
            stop: self.stop.clone(),
        };
        let (done, supervisor) = (self.ended_in.clone(), self.app.supervisor.clone());
        self.calls.spawn(async move {
            // A call that panics frees its slot, and its lease runs out.
            if let Some(ended) = supervisor.once("call", flight.run(call, ended, instants)).await {
                drop(done.send(ended));
            }
        });
    }
}

fn wanted_job(row: &TargetRow, granted: &GrantedJob) -> Wanted {
    Wanted {
        tenant: TenantId(row.tenant_id),
        device: DeviceId(row.device_id),
        granted: granted.clone(),
        failing: row.failing,
    }
}

fn target(row: &TargetRow, validator: Option<&Validator>) -> Target {
    Target {
        job: JobId(row.job_id),
        device: DeviceId(row.device_id),
        external_id: row.external_id.clone(),
        group: row.group_key.clone(),
        validator: validator.cloned(),
    }
}
