//! Takes calls, reads what they need from Postgres, and starts them.

use super::call::{Flight, Instants};
use super::{Ended, Journey, JourneyError, Wanted};
use crate::fetch::{Call, Target, Validators};
use crate::preference::{connections, outbox};
use crate::provider::Resource;
use crate::record::{self, TargetRow};
use crate::take::{Grant, GrantedJob, Settlement, Verdict};
use crate::words::{Connection, ConnectionState, DeviceId, End, JobId, TenantId, UnixMs, Validator};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a pull did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// So many calls were started; pull again after this.
    Ran(usize, Option<Duration>),
    /// Nothing may be sent yet; pull again after this, or when a job is put.
    Idle(Option<Duration>),
}

/// The rows of granted jobs.
struct Resolved {
    rows: HashMap<i64, TargetRow>,
    connections: HashMap<i64, Arc<Connection>>,
    /// By job.
    validators: HashMap<i64, Validator>,
}

impl Journey {
    /// One pull. Waits only for a free slot.
    pub async fn pull(&self) -> Result<Step, JourneyError> {
        let free = self.slots.free().await;
        let asked = Instant::now();
        let taken = self.client.taker.take_within(free, self.slots.room(asked).as_ref(), None).await?;
        let received = Instant::now();
        self.app.clock.learn(taken.now);
        let wake = (taken.wake_in_ms >= 0.0).then(|| Duration::from_secs_f64(taken.wake_in_ms / 1000.0));
        if taken.reaped > 0 {
            let calls = taken.reaped;
            tracing::warn!(provider = %self.provider.name, calls, "leases expired; their calls are due again");
        }
        if !taken.corrupt.is_empty() {
            self.restore(&taken.corrupt).await;
        }
        if taken.grants.is_empty() {
            return Ok(Step::Idle(wake));
        }
        let resolved = match self.resolve(&taken.grants).await {
            Ok(found) => found,
            Err(error) => {
                self.hand_back(&taken.grants).await;
                return Err(error);
            }
        };
        self.client.taker.observe_handling(asked.elapsed());
        let tolerance = self.client.taker.tolerance(taken.late_ms);
        let calls = taken.grants.len();
        for grant in taken.grants {
            // Not early: counted from when the response came. Not late: counted from when the request was sent.
            let wait = Duration::from_secs_f64(grant.send_in_ms / 1000.0);
            let instants = Instants { send_at: received + wait, latest: asked + wait + tolerance };
            let planned = UnixMs(taken.now.0 + grant.send_in_ms.round() as i64);
            self.start(grant, instants, planned, &resolved);
        }
        Ok(Step::Ran(calls, wake))
    }

    /// Puts jobs again whose records the script could not read and set aside.
    async fn restore(&self, jobs: &[JobId]) {
        let (provider, ids) = (&self.provider.name, jobs.iter().map(|job| job.0).collect::<Vec<_>>());
        tracing::error!(%provider, jobs = ?ids, "schedule records cannot be read; restoring them from Postgres");
        if let Err(error) = outbox::note(&self.app.pool, &ids).await {
            tracing::warn!(%provider, %error, "jobs not restored; the next check restores them");
        }
    }

    /// Reads the granted jobs and their connections: two queries for all grants, and a third for resources with
    /// conditional requests.
    async fn resolve(&self, grants: &[Grant]) -> Result<Resolved, JourneyError> {
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
        Ok(Resolved {
            rows: rows.into_iter().map(|row| (row.job_id, row)).collect(),
            connections: opened.into_iter().map(|c| (c.id.0, Arc::new(c))).collect(),
            validators,
        })
    }

    /// Returns grants unsent. If that fails too, their leases expire.
    async fn hand_back(&self, grants: &[Grant]) {
        let settlements: Vec<_> = grants.iter().map(|grant| Settlement::unsent(grant.call)).collect();
        if let Err(error) = self.client.taker.settle(&settlements, None).await {
            let provider = &self.provider.name;
            tracing::warn!(%provider, %error, "grants could not be handed back; their leases will expire");
        }
    }

    fn start(&self, grant: Grant, instants: Instants, planned: UnixMs, resolved: &Resolved) {
        let mut wanted = HashMap::new();
        let mut targets = Vec::new();
        let mut unserved = Vec::new();
        let mut connection = None;
        for job in &grant.jobs {
            let usable = resolved
                .rows
                .get(&job.id.0)
                .and_then(|r| Some((r, resolved.connections.get(&r.connection_id)?)));
            let Some((row, found)) = usable else {
                // Paused, deleted or refused by the provider since the job was put.
                unserved.push((job.id, Verdict::Drop(job.version)));
                continue;
            };
            connection = Some(found.clone());
            wanted.insert(job.id, wanted_job(row, job));
            targets.push(target(row, resolved.validators.get(&row.job_id)));
        }
        // Taken here, not in the task, so that the next pull sees it taken. Only pulls take slots, one pull at a time,
        // and a pull takes at most as many calls as there are slots.
        let slot = connection.as_ref().and_then(|found| self.slots.take(found.id, instants.send_at));
        let ended = Ended {
            sent_at: None,
            fetched_at: planned,
            wanted,
            secrets_version: connection.as_ref().map_or(0, |connection| connection.secrets_version),
            was_refused: connection
                .as_ref()
                .filter(|connection| connection.state == ConnectionState::NeedsReauth)
                .map(|connection| connection.id),
            token_refused: false,
            rejected: Vec::new(),
            end: End::Unsent,
            outcomes: Vec::new(),
            holds: Vec::new(),
            unsolicited: Vec::new(),
            validators: Validators::default(),
            unserved,
            grant,
            _slot: slot,
        };
        let Some(connection) = connection else {
            // Sending cannot fail: the receiver lives as long as the journey.
            drop(self.ended_in.send(ended));
            return;
        };
        let call = Call { connection, resource: ended.grant.resource.clone(), targets };
        let flight = Flight {
            fetcher: self.client.fetcher.clone(),
            authoriser: self.authoriser.clone(),
            gate: self.gate.clone(),
            quota_inputs: self.provider.quota_inputs(&call.connection.params, call.connection.devices),
            clock: self.app.clock.clone(),
            cost: self
                .provider
                .resource(call.resource.as_str())
                .map_or(1, |r| r.cost_of(call.targets.len() as u32)),
            stop: self.stop.clone(),
            cut: self.cut.clone(),
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
